// What a report says: the decision, what each metric changed by, how that went over time, and for whom.

import { make, section } from './elements.js'
import { forest, lineChart } from './charts.js'
import { DASH, chance, change, count, ends, figure, lasting, money, moment, percent, plain } from './numbers.js'
import { table } from './tables.js'
import { decided } from './words.js'

const BROKEN_P = 0.001 // below it the variants do not hold the shares that were set

// Returns the sections of a report, in the order of what is asked first.
export function reportSections({ report, experiment, shares, promoted }) {
  // a report tells what decided when it was made
  const one = { report, experiment: { ...experiment, metric: report.metric ?? experiment.metric ?? 'clicks/pages' }, shares, promoted }
  // a mixed page is of both variants: it has no units, no shares and no figures of either
  if (one.experiment.allocation?.kind === 'interleaving') return [verdict(one)]
  return [verdict(one), variants(one), metrics(one), overTime(one), segments(one), believed(one)].filter(Boolean)
}

// ── the decision ─────────────────────────────────────────────────────────────────────────────────────────────────

function verdict({ report, experiment, promoted }) {
  const units = Object.values(report.units).reduce((sum, n) => sum + n, 0)
  const planned = experiment.planned_units
  const part = planned ? ` of ${count(planned)} planned` : ''
  const progress = planned ? make('progress', { max: planned, value: Math.min(units, planned), 'aria-label': 'Units of those planned' }) : null
  const mixed = experiment.allocation?.kind === 'interleaving' // its units are of both variants: none is counted here
  const counted = mixed ? '' : `${count(units)}${part} ${experiment.unit ?? 'session'}s · `
  return make('section', { class: `card verdict ${report.verdict}`, 'aria-live': 'polite' },
    make('h2', { class: 'visually-hidden' }, 'Decision'),
    make('p', { class: 'decision', id: 'decision' }, decided({ promoted }, report.decision)), mixed ? null : progress,
    report.held ? make('p', {}, `The judge leaves it to you: ${report.held}`) : null,
    make('p', { class: 'quiet' }, `${counted}reported ${lasting(Math.max(0, Date.now() - report.at_ms))} ago, of version ${report.experiment_version}`))
}

// ── by variant ───────────────────────────────────────────────────────────────────────────────────────────────────

function variants({ report, experiment, shares }) {
  // a bandit's shares move: those of everybody who is of no kind of its own
  const share = new Map(shares ? Object.entries(shares['']) : experiment.variants.map((variant) => [variant.name, variant.share]))
  const shareLabel = experiment.allocation?.kind === 'bandit' ? (shares ? 'Share now' : 'Share at first') : 'Share'
  const rows = Object.entries(report.figures).map(([name, of]) => ({ name, of, units: report.units[name] ?? null }))
  const numbered = (label, value, text = count) => ({ label, number: true, value, cell: (row) => text(value(row)) })
  const ratio = (part, whole) => (whole ? part / whole : null)
  return section('By variant', make('p', { class: 'quiet' }, 'Clicks are those on the pages counted here. Carts, orders and revenue are all that the units did from their first page on, recommended or not.'), table({
    caption: 'Figures by variant', rows,
    columns: [
      { label: 'Variant', cell: (row) => row.name },
      numbered(shareLabel, (row) => share.get(row.name) ?? null, percent),
      numbered('Units', (row) => row.units),
      ...['pages', 'shown', 'clicks', 'carts', 'orders'].map((key) => numbered(key[0].toUpperCase() + key.slice(1), (row) => row.of[key])),
      numbered('Revenue', (row) => row.of.revenue, (value) => money(value, report.currency)),
      numbered('Clicks a page', (row) => ratio(row.of.clicks, row.of.pages), percent),
      numbered('Revenue a unit', (row) => ratio(row.of.revenue, row.units), (value) => money(value, report.currency)),
    ],
  }))
}

// ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────

// 1: better, -1: worse, by the interval; 0: not known. Guardrails and other metrics are better when they rise.
function sideOf(one, experiment) {
  const [low, high] = one.lift_ends
  if (one.early || low === null || high === null || (low <= 0 && high >= 0)) return 0
  const lower = experiment.lower_is_better && one.metric === experiment.metric
  return (low > 0 ? 1 : -1) * (lower ? -1 : 1)
}

function pictured(comparisons, experiment) {
  const several = new Set(comparisons.map((one) => one.treatment)).size > 1
  return comparisons.map((one) => ({
    label: several ? `${one.metric} · ${one.treatment}` : one.metric,
    note: one.guardrail ? 'guardrail' : one.metric === experiment.metric ? 'decides' : '',
    lift: one.lift, ends: one.early ? [null, null] : one.lift_ends, side: sideOf(one, experiment),
  }))
}

function metrics({ report, experiment }) {
  const primary = (one) => one.metric === experiment.metric && !one.guardrail
  const order = [...report.comparisons].sort((one, other) => primary(other) - primary(one))
  if (!order.length) return null
  const rows = pictured(order, experiment)
  const kind = (one) => (one.guardrail ? 'guardrail' : primary(one) ? 'decides' : '')
  const note = (one) => (typeof one.early === 'string' && one.early ? one.early : one.early ? 'too few units yet' : '')
  const column = (label, cell, number = true) => ({ label, number, cell })
  return section('What changed', make('p', { class: 'quiet' }, `Change against ${experiment.variants[0].name}, the control. Bars are 95% intervals that hold at every look.`),
    forest(rows), make('details', {}, make('summary', {}, 'Numbers'), table({
      caption: 'Comparisons with the control', rows: order,
      columns: [
        column('Metric', (one) => one.metric, false), column('', kind, false), column('Variant', (one) => one.treatment, false),
        column('Control', (one) => figure(one.metric, one.figures[0], report.currency)),
        column('Variant', (one) => figure(one.metric, one.figures[1], report.currency)),
        column('Change', (one) => change(one.lift)), column('95% interval', (one) => ends(one.lift_ends)),
        column('Difference', (one) => plain(one.difference)), column('p', (one) => chance(one.p)),
        column('p, corrected', (one) => chance(one.corrected)), column('Units', (one) => one.units.map(count).join(', ')), column('Note', note, false),
      ],
    })))
}

// ── over time ────────────────────────────────────────────────────────────────────────────────────────────────────

function overTime({ report, experiment }) {
  const looks = report.history ?? []
  const times = [...new Set(looks.map((look) => look.at_ms))].sort((a, b) => a - b)
  if (times.length < 2) return null
  const last = looks.filter((look) => look.at_ms === times.at(-1))
  // an early interval is a hundred times the later ones: what is far beyond the last look is not drawn
  const most = Math.min(10, Math.max(3, ...last.flatMap((look) => [look.lift, ...look.lift_ends]).map((value) => Math.abs(value ?? 0))))
  const cut = (value) => (value === null || Math.abs(value) > most ? null : value)
  const treatments = [...new Set(looks.map((look) => look.treatment))]
  const lines = treatments.map((treatment) => {
    const of = new Map(looks.filter((look) => look.treatment === treatment).map((look) => [look.at_ms, look]))
    const each = (value) => times.map((at) => (of.has(at) ? value(of.get(at)) : null))
    return { label: treatment, values: each((look) => cut(look.lift)), low: each((look) => cut(look.lift_ends[0])), high: each((look) => cut(look.lift_ends[1])) }
  })
  const caption = `Change of ${experiment.metric} over ${times.length} looks. Last: ${last.map((look) => `${look.treatment} ${change(look.lift)}, ${ends(look.lift_ends)}`).join('; ')}`
  return section('Over time', lineChart({ caption, times: times.map((at) => at / 1000), lines, format: (value) => (value === null || value === undefined ? DASH : change(value)), zero: true }),
    make('p', { class: 'quiet' }, 'The change of the metric that decides, with its interval, at each look.'))
}

// ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────

function segments({ report, experiment }) {
  const found = Object.entries(report.segments ?? {}).filter(([, values]) => Object.keys(values).length)
  if (!found.length) return null
  const parts = found.flatMap(([column, values]) => {
    const rows = Object.entries(values).flatMap(([value, comparisons]) => pictured(comparisons, experiment).map((row, at) => ({
      ...row, label: value || 'not known',
      note: `${comparisons.length > 1 ? `${comparisons[at].treatment}, ` : ''}${count(comparisons[at].units[0] + comparisons[at].units[1])} units`,
    })))
    return [make('h3', {}, `By ${column}`), forest(rows)]
  })
  return section('For whom', make('p', { class: 'quiet' }, `The change of ${experiment.metric}. Of several groups one differs by chance: take what stands out as a question for the next experiment.`), ...parts)
}

// ── can it be believed ───────────────────────────────────────────────────────────────────────────────────────────

const LEFT = { switched: 'were seen in several variants', held_out: 'were held out', testers: 'were testers', others: 'were in no variant that counts' }

function believed({ report }) {
  const { p, counts, shares } = report.sample_ratio ?? { p: null, counts: report.units, shares: {} }
  const names = Object.keys(report.units)
  const sum = (of) => names.reduce((all, name) => all + (of[name] ?? 0), 0)
  const [all, whole] = [sum(counts), sum(shares)]
  const rows = names.map((name) => ({ name, got: counts[name], wanted: whole && name in shares ? Math.round((all * shares[name]) / whole) : null }))
  const known = typeof p === 'number'
  const broken = known && p < BROKEN_P
  const left = Object.entries(report.left_out ?? {}).filter(([, n]) => n).map(([name, n]) => `${count(n)} ${LEFT[name] ?? name}`)
  return section('Can it be believed?',
    !all ? make('p', {}, 'No unit was seen yet.') : make('p', { class: broken ? 'wrong' : null }, broken
      ? `No: the variants do not hold the shares that were set (p = ${plain(p)}). Units are lost on the way.`
      : known ? `The variants hold the shares that were set (p = ${plain(p)}).` : 'Shares were changed on the way: whether units were lost cannot be told.'),
    table({ caption: 'Sample ratio', rows, columns: [
      { label: 'Variant', cell: (row) => row.name },
      { label: 'Units', number: true, cell: (row) => count(row.got) },
      { label: 'Expected', number: true, cell: (row) => count(row.wanted) },
    ] }),
    make('p', { class: 'quiet' }, left.length ? `Left out: ${left.join(', ')}.` : 'No unit was left out.'),
    make('p', { class: 'quiet' }, `Reported ${moment(report.at_ms)}.`))
}
