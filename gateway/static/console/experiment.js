// One experiment: what it is, what the report says, who was left out, and what can be done with it.

import { $, button, labelled, make, section, select } from './elements.js'
import { call, every, notice, tell } from './frame.js'
import { count, lasting, moment, percent } from './numbers.js'
import { demote, promote, stop } from './decide.js'
import { reportSections } from './report.js'

const EVERY_MS = 5_000
const WAIT_MS = 120_000 // a judge reports every minute: without one for longer, something is wrong
const OLD_MS = 600_000

let offWhenLoaded = null
let shownReport // what the shown report was made of

const path = (name, act = '') => `/api/experiments/${encodeURIComponent(name)}${act}`
const begun = (one) => Math.max(one.started_ms, Date.parse(one.experiment.start ?? 0) || 0)
const open = (one) => one.state === 'running' || one.state === 'planned'

export async function showExperiment(name, withoutAttribution) {
  const [one, off] = [await call('GET', path(name)), await withoutAttribution()]
  offWhenLoaded = off
  $('main').replaceChildren(
    make('p', { class: 'back' }, make('a', { href: '/console/experiments' }, '← All experiments')),
    make('div', { id: 'head' }), make('div', { id: 'report', class: 'stack' }), make('div', { id: 'rest', class: 'stack' }))
  document.title = `${name} · Nextclick console`
  await show(one)
  every(EVERY_MS, async () => {
    const now = await call('GET', path(name))
    if (now.version !== shown.version || now.state !== shown.state) await show(now)
    else showReport(now)
  })
}

let shown

async function show(one) {
  shown = one
  shownReport = undefined
  $('head').replaceChildren(head(one))
  showReport(one)
  const { experiments: versions } = await call('GET', path(one.name, '/versions'))
  $('rest').replaceChildren(...[acts(one, versions), testers(one), documentOf(one)].filter(Boolean))
}

async function again(name, text) {
  await show(await call('GET', path(name)))
  tell(text)
}

// ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────────

function head(one) {
  const { experiment } = one
  const now = one.stopped_ms ?? Math.min(Date.now(), Date.parse(experiment.end ?? '') || Infinity)
  const facts = [
    ['Scenario', experiment.scenario],
    ['Unit', experiment.unit ?? 'session'],
    ['Decides', `${experiment.metric ?? 'clicks/pages'}${experiment.lower_is_better ? ', lower is better' : ''}`],
    [one.state === 'planned' ? 'Begins' : 'Began', moment(begun(one))],
    ['Runs for', one.state === 'planned' ? null : lasting(Math.max(0, now - begun(one)))],
    ['Ends', experiment.end ? moment(Date.parse(experiment.end)) : null],
    ['Held out', experiment.holdout ? percent(experiment.holdout) : null],
    ['Shares', experiment.allocation && experiment.allocation.kind !== 'fixed' ? experiment.allocation.kind : null],
    ['Segment', experiment.segment],
    ['Version', `${one.version}${one.by ? ` by ${one.by}` : ''}`],
    ['Stopped', one.stopped_ms ? moment(one.stopped_ms) : null],
    ['Became the scenario', one.promoted],
    ['Why', one.why === one.report?.decision ? null : one.why], // the judge's is the decision below
  ]
  return make('div', {},
    make('div', { class: 'line' }, make('h1', {}, one.name), make('span', { class: `state ${one.state}` }, one.state)),
    experiment.description ? make('p', {}, experiment.description) : null,
    make('dl', { class: 'facts' }, facts.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([label, value]) =>
      make('div', {}, make('dt', {}, label), make('dd', {}, String(value))))))
}

// ── what is known of it ──────────────────────────────────────────────────────────────────────────────────────────

function showReport(one) {
  const made = one.report?.at_ms ?? Math.floor(Date.now() / WAIT_MS)
  if (made === shownReport) return
  shownReport = made
  const parts = one.report ? [old(one), ...reportSections(one)] : [offWhenLoaded ?? waiting(one)]
  const opened = [...$('report').querySelectorAll('details')].map((details) => details.open)
  $('report').replaceChildren(...parts.filter(Boolean))
  $('report').querySelectorAll('details').forEach((details, at) => (details.open = opened[at] ?? false))
}

function old(one) {
  const age = Date.now() - one.report.at_ms
  if (one.state !== 'running' || age < OLD_MS) return null
  return notice(`This report is ${lasting(age)} old`, make('p', {}, 'The judge makes one every minute. It seems to be off, or stuck: look at its log.'))
}

function waiting(one) {
  if (one.state === 'planned') return notice('Not begun yet', make('p', {}, 'Reports come once visitors take part.'))
  if (one.state !== 'running') return notice('No report', make('p', {}, 'This experiment had ended before a report was made. The log still knows: nextclick experiment units, then report.'))
  if (Date.now() - begun(one) < WAIT_MS) return notice('No report yet', make('p', {}, 'The judge makes one every minute.'))
  return notice('The judge is off', make('p', {}, 'Visitors get their variants, but nobody makes reports of it. Start the stack with '), make('pre', {}, 'NEXTCLICK_JUDGE__RUN=true NEXTCLICK_ATTRIBUTION__RUN=true nextclick up'),
    make('p', { class: 'quiet' }, 'Reports need the experiments extra. Without it the judge says so in its log.'))
}

// ── what can be done ─────────────────────────────────────────────────────────────────────────────────────────────

function acts(one, versions) {
  const done = (text) => again(one.name, text)
  const ways = []
  if (!one.stopped_ms) {
    ways.push(button('Stop …', () => stop(one, done), { id: 'stop', class: 'danger' }))
    ways.push(button('Promote a variant …', () => promote(one, done), { id: 'promote', class: 'main' }))
  }
  if (one.promoted) ways.push(button('Take the scenario back …', () => demote(one, done), { id: 'demote' }))
  const older = versions.filter((version) => version.version !== one.version).map((version) =>
    make('li', { class: 'line' },
      make('span', {}, make('b', {}, `Version ${version.version}`), ` · ${moment(version.published_ms)} · ${version.experiment.variants.map((variant) => `${variant.name} ${percent(variant.share)}`).join(', ')}`),
      button('Go back to it', () => backTo(one, version.version), { 'data-version': version.version })))
  return section('Decide', make('div', { class: 'acts' }, ways),
    older.length ? make('details', {}, make('summary', {}, `Versions before (${older.length})`), make('ul', { class: 'rows' }, older)) : null)
}

async function backTo(one, version) {
  try {
    const { version: now } = await call('POST', path(one.name, '/rollback'), { version })
    await again(one.name, `Version ${now} is as version ${version} was.`)
  } catch (error) {
    tell(error.message, true)
  }
}

function testers(one) {
  const given = Object.entries(one.experiment.overrides ?? {})
  if (!open(one)) return given.length ? section('Testers', make('p', {}, `${count(given.length)} testers: ${given.slice(0, 20).map(([unit, variant]) => `${unit} (${variant})`).join(', ')}`)) : null
  const put = async (changed, text) => {
    try {
      const { experiment } = await call('GET', path(one.name)) // the newest, whoever published it
      await call('PUT', path(one.name), { ...experiment, overrides: changed(experiment.overrides ?? {}) })
      await again(one.name, text)
    } catch (error) {
      tell(error.message, true)
    }
  }
  const unit = make('input', { id: 'tester', required: true, maxlength: 256, autocomplete: 'off', placeholder: one.experiment.unit === 'user' ? 'user id' : 'session id' })
  const names = one.experiment.variants.map((variant) => [variant.name, variant.name])
  let variant = names.at(-1)[0]
  const form = make('form', { class: 'inline' },
    labelled('Tester', unit), labelled('gets', select('tester-variant', names, variant, (chosen) => (variant = chosen))), make('button', { type: 'submit' }, 'Add'))
  form.onsubmit = (event) => {
    event.preventDefault()
    put((known) => ({ ...known, [unit.value]: variant }), `${unit.value} gets ${variant}, and is not counted.`)
  }
  const rows = given.map(([who, gets]) => make('li', { class: 'line' }, make('span', {}, make('b', {}, who), ` gets ${gets}`),
    button('Remove', () => put(({ [who]: _gone, ...others }) => others, `${who} is counted again.`), { 'aria-label': `Remove ${who}` })))
  return section('Testers', make('p', { class: 'quiet' }, 'They get a variant whatever their hash says, and are not counted.'), rows.length ? make('ul', { class: 'rows' }, rows) : null, form)
}

const documentOf = (one) => make('details', { class: 'card' }, make('summary', {}, 'The document'), make('pre', { tabindex: 0 }, JSON.stringify(one.experiment, null, 2)))
