// Figures: what was shown and what it earned, by dates and dimensions, beside the period before.

import { $, button, copyable, labelled, make, section, select } from './elements.js'
import { call, doing, notice } from './frame.js'
import { bars, lineChart } from './charts.js'
import { change, count, money, moment, percent, tickOf } from './numbers.js'
import { csv, download, table } from './tables.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MOST_HOURS = 24 * 92 // that the gateway takes
const MOST_ROWS = 200 // that are shown; the CSV has all
const HOURLY = 4 * DAY // up to here the chart goes by hours
const RANGES = [['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days'], ['own', 'dates …']]
const DAYS = { '7d': 7, '30d': 30 } // whole ones, the last of them today
const PLACED = ['scenario', 'variant', 'experiment', 'version', 'position'] // what positions are counted by
const DIMENSIONS = ['scenario', 'variant', 'model', 'device', 'region', 'rung', 'position', 'experiment', 'version', 'returning']
const CHARTED = ['pages', 'clicks', 'ctr', 'orders', 'conversion', 'revenue', 'revenue_per_thousand', 'average_order']
const COLUMNS = ['pages', 'shown', 'clicks', 'ctr', 'sessions', 'carts', 'orders', 'conversion', 'revenue', 'revenue_per_thousand', 'average_order']
const LABELS = {
  pages: 'Pages', shown: 'Items shown', clicks: 'Clicks', ctr: 'Click rate', sessions: 'Sessions', carts: 'Carts', orders: 'Orders',
  conversion: 'Conversion', revenue: 'Revenue', revenue_per_thousand: 'Revenue per 1,000 shown', average_order: 'Average order',
}
const RATES = ['ctr', 'conversion']
const MONEY = ['revenue', 'revenue_per_thousand', 'average_order']

// ── what is asked for: it stands in the address, so that a page can be sent to somebody ──────────────────────────

const asked = { range: '7d', from: '', to: '', by: 'scenario', then: '', only: '', currency: '', chart: 'revenue' }
for (const [name, value] of new URLSearchParams(location.search)) if (name in asked) asked[name] = value

const day = (ms) => new Date(ms).toISOString().slice(0, 10)

// The hours asked for: begin and end in milliseconds, the end not among them.
function hours() {
  const now = Math.floor(Date.now() / HOUR + 1) * HOUR
  if (asked.range === '24h') return [now - DAY, now]
  if (asked.range in DAYS) return [Math.floor((now - HOUR) / DAY - DAYS[asked.range] + 1) * DAY, now]
  const from = Date.parse(asked.from) || now - 7 * DAY
  const to = Math.min((Date.parse(asked.to) || now) + DAY, now)
  return [Math.max(from, to - MOST_HOURS * HOUR), to]
}

// Null where the whole of the dates asked for is shown.
const shortened = ([from]) => (asked.range === 'own' && from > Date.parse(asked.from) ? make('p', { id: 'shortened' }, `At most ${MOST_HOURS / 24} days are shown: these are the last of yours, from ${moment(from)} on.`) : null)

const kpi = (by, [from, to], metrics) =>
  call('GET', `/api/kpi?${new URLSearchParams({ by: by.join(','), from, to: to - HOUR, metric: metrics.join(',') })}`)

// ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────

const value = (figures, metric) => figures?.[MONEY.includes(metric) ? `${metric}:${asked.currency}` : metric] ?? null
const text = (metric, found) =>
  MONEY.includes(metric) ? money(found, asked.currency) : RATES.includes(metric) ? percent(found) : count(found)
const recommended = (row) => row.of.recommended === 'yes'
const wanted = (row) => recommended(row) && (!asked.only || row.of.scenario === asked.only)
const only = () => (asked.only ? ['scenario'] : []) // a dimension more, where one scenario is looked at

function currencies(rows) {
  const sums = new Map()
  for (const { figures } of rows) {
    for (const [name, amount] of Object.entries(figures)) if (name.startsWith('revenue:')) sums.set(name.slice(8), (sums.get(name.slice(8)) ?? 0) + amount)
  }
  return [...sums].sort((one, other) => other[1] - one[1]).map(([name]) => name)
}

let turn = 0 // of loads: what an older one finds is not shown any more

async function load() {
  const mine = ++turn
  const period = hours()
  const length = period[1] - period[0]
  if (length <= 0) return show([wrongOrder(period)])
  const now = await kpi(['recommended', ...only()], period, COLUMNS)
  if (!Object.keys(now.offsets).length) return show([off()])
  const found = currencies(now.rows)
  if (!found.includes(asked.currency)) asked.currency = found[0] ?? ''
  const back = Math.ceil(length / DAY) * DAY // as many days ago, at the same hours
  const before = await kpi(['recommended', ...only()], period.map((at) => at - back), COLUMNS)
  const over = await kpi(['recommended', ...only(), length <= HOURLY ? 'hour' : 'day'], period, COLUMNS)
  if (asked.by === 'position' && !PLACED.includes(asked.then)) asked.then = ''
  const parts = [...new Set([asked.by, asked.then].filter(Boolean))]
  const split = await kpi([...new Set(['recommended', ...only(), ...parts])], period, [...COLUMNS, 'margin', 'returned'])
  const places = await kpi(['recommended', ...only(), 'position'], period, ['shown', 'clicks', 'ctr'])
  const { rows: names } = await kpi(['recommended', 'scenario'], period, ['pages'])
  if (mine !== turn) return
  controls(names.filter(recommended).map((row) => row.of.scenario), found)
  if (!now.rows.length) return show([shortened(period), empty()])
  show([shortened(period), tiles(now.rows, before.rows), overTime(over, period), split_(split.rows, parts), byPosition(places.rows), stands(now, period)])
}

function show(parts) {
  $('figures').replaceChildren(...parts.filter(Boolean))
}

const off = () => notice('Attribution is off', make('p', {}, 'Nothing counts what was shown and what came of it. Start the gateway and its flows with this setting:'), copyable('NEXTCLICK_ATTRIBUTION__RUN=true nextclick up'))
const wrongOrder = ([from, to]) => notice('These dates are in the wrong order', make('p', {}, `They begin with ${day(from)} and end with ${day(to - HOUR)}. Choose a first day that is not after the last one.`))
const empty = () => notice('Nothing in these dates', make('p', {}, 'No page was shown and nothing was bought. Choose other dates.'))

// ── tiles ────────────────────────────────────────────────────────────────────────────────────────────────────────

function tiles(rows, rowsBefore) {
  const [now, before] = [rows, rowsBefore].map((all) => all.find(wanted)?.figures)
  // of what was earned, by any scenario or by none
  const earned = (all) => {
    const sum = all.reduce((total, row) => total + (value(row.figures, 'revenue') ?? 0), 0)
    return sum > 0 ? (value(all.find(wanted)?.figures, 'revenue') ?? 0) / sum : null
  }
  const shown = ['pages', 'ctr', 'conversion', 'revenue', 'revenue_per_thousand', 'average_order'].map((metric) =>
    tile(metric, LABELS[metric], value(now, metric), value(before, metric), text(metric, value(now, metric))))
  const shares = [earned(rows), earned(rowsBefore)]
  shown.push(tile('earned', 'Recommended share of revenue', ...shares, percent(shares[0])))
  return make('section', { class: 'stack', 'aria-labelledby': 'tiles-title' }, make('h2', { id: 'tiles-title', class: 'visually-hidden' }, 'In short'), make('dl', { class: 'tiles' }, shown),
    make('p', { class: 'quiet' }, 'Of recommendations alone: an order counts here where a page that was shown before it held its item. All other orders are in the table below, as not recommended.'))
}

function tile(name, label, now, before, said) {
  const moved = now !== null && before ? now / before - 1 : null
  const side = moved === null || Math.abs(moved) < 0.0005 ? '' : moved > 0 ? 'better' : 'worse'
  const arrow = side === 'better' ? '▲ ' : side === 'worse' ? '▼ ' : ''
  return make('div', { class: 'card tile', 'data-tile': name }, make('dt', {}, label), make('dd', {}, said),
    make('dd', { class: `moved ${side}` }, moved === null ? 'nothing before' : `${arrow}${change(moved)} to the period before`))
}

// ── over time ────────────────────────────────────────────────────────────────────────────────────────────────────

function overTime({ rows }, [from, to]) {
  const unit = to - from <= HOURLY ? 'hour' : 'day'
  const found = new Map(rows.filter(wanted).map((row) => [Date.parse(row.of[unit].replace(/:00Z$/, ':00:00Z')), row.figures]))
  const times = []
  const size = unit === 'hour' ? HOUR : DAY
  for (let at = Math.floor(from / size) * size; at < to; at += size) times.push(at)
  const zero = !RATES.includes(asked.chart) && !['average_order', 'revenue_per_thousand'].includes(asked.chart) ? 0 : null
  const values = times.map((at) => value(found.get(at), asked.chart) ?? zero)
  const chosen = select('chart', CHARTED.map((name) => [name, LABELS[name]]), asked.chart, (name) => set({ chart: name }))
  const caption = `${LABELS[asked.chart]} by ${unit}`
  const chart = lineChart({ caption, times: times.map((at) => at / 1000), lines: [{ label: LABELS[asked.chart], values }], step: size / 1000, tick: RATES.includes(asked.chart) ? percent : tickOf, format: (one) => text(asked.chart, one ?? null) })
  const numbers = table({ caption, rows: times.map((at, place) => ({ at, found: values[place] })), columns: [
    { label: unit === 'hour' ? 'Hour, UTC' : 'Day, UTC', value: (row) => row.at, cell: (row) => moment(row.at).slice(0, unit === 'hour' ? 16 : 10) },
    { label: LABELS[asked.chart], number: true, value: (row) => row.found, cell: (row) => text(asked.chart, row.found) },
  ] })
  return section(`Over time, by ${unit}`, labelled('Figure', chosen), chart, make('details', {}, make('summary', {}, 'Numbers'), numbers))
}

// ── by dimensions ────────────────────────────────────────────────────────────────────────────────────────────────

function split_(all, parts) {
  const ofPosition = parts.includes('position')
  const rows = all.filter((row) => (asked.only ? wanted(row) : true))
  const order = [...rows].sort((one, other) => (ofPosition ? 0 : other.figures.shown - one.figures.shown))
  const metrics = ofPosition ? ['shown', 'clicks', 'ctr'] : COLUMNS
  const name = (row, part) => (recommended(row) ? row.of[part] || 'not known' : part === parts[0] ? 'not recommended' : '')
  const columns = [
    ...parts.map((part) => ({ label: part[0].toUpperCase() + part.slice(1), value: (row) => name(row, part), cell: (row) => name(row, part) })),
    ...metrics.map((metric) => ({ label: LABELS[metric], number: true, value: (row) => value(row.figures, metric), cell: (row) => text(metric, value(row.figures, metric)) })),
  ]
  const choices = (other) => (other === 'position' ? PLACED : DIMENSIONS).map((one) => [one, one])
  const save = button('Download CSV', () => saveCsv(rows, parts), { id: 'csv' })
  return section(`By ${parts.join(' and ')}`,
    make('div', { class: 'inline' }, labelled('By', select('by', choices(asked.then), asked.by, (by) => set({ by }))),
      labelled('and by', select('then', [['', 'nothing else'], ...choices(asked.by)], asked.then, (then) => set({ then }))), save),
    order.length ? table({ caption: `Figures by ${parts.join(' and ')}`, columns, rows: order.slice(0, MOST_ROWS) }) : make('p', {}, 'Nothing is counted by it in these dates.'),
    order.length > MOST_ROWS ? make('p', { class: 'quiet' }, `The ${MOST_ROWS} rows with most items shown, of ${count(order.length)}; the CSV has all.`) : null)
}

function saveCsv(rows, parts) {
  const names = [...new Set(['recommended', ...only(), ...parts])]
  const figures = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))]
  download(`figures-${parts.join('-')}-${day(hours()[0])}.csv`, csv([...names, ...figures], rows.map((row) =>
    [...names.map((one) => row.of[one] ?? ''), ...figures.map((one) => row.figures[one] ?? null)])))
}

function byPosition(all) {
  const rows = all.filter(wanted).sort((one, other) => one.of.position - other.of.position)
  if (!rows.length) return null
  return section('By position', make('p', { class: 'quiet' }, 'The click rate (clicks by items shown) at each place of the list.'),
    bars('Click rate by position', rows.map(({ of, figures }) => ({ label: `${of.position}`, value: figures.ctr, text: percent(figures.ctr), note: `${count(Math.round(figures.clicks))} of ${count(figures.shown)}` }))))
}

function stands({ facts, offsets }, [from, to]) {
  const read = Object.values(offsets).reduce((sum, one) => sum + one, 0)
  const rest = Object.entries(facts).filter(([name, n]) => n && name !== 'taken').map(([name, n]) => `${count(n)} ${name.replaceAll('_', ' ')}`)
  return make('p', { class: 'quiet' }, `${moment(from)} to ${moment(to)}. ${count(read)} records of the log were read${rest.length ? `: ${rest.join(', ')}` : ''}. `,
    'Hours are UTC, and the last one is not over yet.')
}

// ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

function set(change_) {
  Object.assign(asked, change_)
  const stay = document.activeElement?.id
  history.replaceState(null, '', `${location.pathname}?${new URLSearchParams(Object.entries(asked).filter(([, one]) => one))}`)
  return doing(load).then(() => stay && $(stay)?.focus())
}

function controls(scenarios, found) {
  const ranges = make('div', { class: 'chips', role: 'group', 'aria-label': 'Dates' }, RANGES.map(([name, label]) =>
    button(label, () => set({ range: name }), { id: `range-${name}`, 'aria-pressed': String(asked.range === name) })))
  const [from, to] = hours()
  const chosen = { from: Date.parse(asked.from) || from, to: Date.parse(asked.to) || to - HOUR }
  const date = (id, label) => {
    const made = make('input', { id, type: 'date', value: day(chosen[id]), max: day(Date.now()) })
    made.onchange = () => made.value && set({ range: 'own', [id]: made.value })
    return labelled(label, made)
  }
  const dates = asked.range === 'own' ? [date('from', 'From'), date('to', 'to')] : []
  const which = [['', 'all scenarios'], ...scenarios.filter(Boolean).map((name) => [name, name])]
  if (asked.only && !scenarios.includes(asked.only)) which.push([asked.only, asked.only])
  $('controls').replaceChildren(ranges, ...dates, labelled('Scenario', select('only', which, asked.only, (name) => set({ only: name }))),
    ...(found.length > 1 ? [labelled('Currency', select('currency', found.map((one) => [one, one]), asked.currency, (name) => set({ currency: name })))] : []))
}

$('main').replaceChildren(make('h1', {}, 'Figures'), make('div', { id: 'controls', class: 'inline' }), make('div', { id: 'figures', class: 'stack' }))
controls([], [])
await doing(load)
