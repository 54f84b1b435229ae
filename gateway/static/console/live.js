// What happens now, in all gateway processes together: lines over five minutes, times by stage, what was left out.

import { lineChart } from './charts.js'
import { $, make, section, tile } from './elements.js'
import { call, doing, every, tell } from './frame.js'
import { count, DASH, percent, plain, tickOf } from './numbers.js'
import { table } from './tables.js'
import { DEGRADED, STAGES } from './live_words.js'

const EACH = 2000
const KEPT = 150 // steps: five minutes
const ms = (value) => (value === null ? DASH : value < 10 ? `${value.toFixed(1)} ms` : `${count(Math.round(value))} ms`)
const each = (value) => (value === null ? DASH : `${plain(value)}/s`)

const points = new Map() // by their time; gateways send only what is new
let charts = null
let failed = false

// ── what was asked ───────────────────────────────────────────────────────────────────────────────────────────────

async function load() {
  const newest = Math.max(0, ...points.keys())
  const found = await call('GET', `/api/live${newest ? `?since_ms=${Math.max(0, newest - 2 * EACH)}` : ''}`)
  for (const point of found.points) points.set(point.at_ms, point)
  const last = Math.floor(found.at_ms / found.step_ms) * found.step_ms
  for (const at of points.keys()) if (at <= last - KEPT * found.step_ms) points.delete(at)
  if (failed) tell('')
  failed = false
  show(found, last)
}

function show(found, last) {
  const times = Array.from({ length: KEPT }, (_, at) => last - (KEPT - 1 - at) * found.step_ms)
  const now = lately(times.slice(-7, -1))
  who(found, now !== null)
  tiles(found, now)
  lines(times.slice(0, -1))
  $('stages').replaceChildren(stages(found))
  $('degraded').replaceChildren(degraded(found))
}

// Figures of the last ten seconds: of one step they would jump.
function lately(times) {
  const there = times.map((at) => points.get(at)).filter((point) => point?.processes)
  if (!there.length) return null
  const mean = (name) => there.reduce((sum, point) => sum + point[name], 0) / there.length
  return Object.fromEntries(['requests_s', 'recommendations_s', 'events_s', 'errors_s', 'refused_s'].map((name) => [name, mean(name)]))
}

// ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────

function who(found, counted) {
  const silent = found.silent ? ` ${found.silent} more ${found.silent === 1 ? 'was there and says' : 'were there and say'} nothing: see System.` : ''
  const all = found.processes === 1 ? 'The one gateway process of this deployment' : `${found.processes === 2 ? 'Both' : `All ${found.processes}`} gateway processes of this deployment together`
  const begins = counted ? '' : ' Counting by the second has just begun: it runs while somebody looks.'
  $('who').textContent = `${all}, every 2 s, over five minutes. Times are UTC.${silent}${begins}`
}

const TILES = [
  ['requests', 'Requests', (_, now) => each(now && now.requests_s), () => 'of all kinds'],
  ['recommendations', 'Recommendations', (_, now) => each(now && now.recommendations_s), (found) => `${count(found.recommendations)} in the last minute`],
  ['p50', 'Answered within, half of them', (found) => ms(total(found)?.p50_ms ?? null), () => 'in the last minute, by the gateway'],
  ['p99', 'Answered within, 99%', (found) => ms(total(found)?.p99_ms ?? null), () => 'in the last minute, by the gateway'],
  ['events', 'Events taken', (_, now) => each(now && now.events_s), () => 'clicks, carts, purchases, impressions'],
  ['errors', 'Failed', (_, now) => each(now && now.errors_s), (_, now) => `answers 5xx; ${each(now && now.refused_s)} refused (4xx)`],
  ['lag', 'From a click to its session', (found) => ms(found.fresh.lag_ms), (found) => found.fresh.clicks_behind === null ? 'Redis does not tell' : `${count(found.fresh.clicks_behind)} clicks wait`],
  ['clicks', 'Click rate', (found) => percent(found.hour.click_rate), (found) => found.hour.shown === null ? 'nothing counted in the last full hour (attribution counts it)' : `${count(found.hour.clicks)} clicks of ${count(found.hour.shown)} shown, last full hour`],
]

const total = (found) => found.stages.find((one) => one.stage === 'total')

function tiles(found, now) {
  $('tiles').replaceChildren(...TILES.map(([name, label, value, note]) => tile(name, label, value(found, now), note(found, now))))
}

const RATES = [['requests_s', 'requests'], ['recommendations_s', 'recommendations'], ['events_s', 'events']]
const TIMES = [['p50_ms', 'half within'], ['p99_ms', '99% within']]
const TROUBLE = [['errors_s', 'failed'], ['refused_s', 'refused'], ['degraded_s', 'degraded']]

function lines(times) {
  const values = (names) => names.map(([name]) => times.map((at) => (points.get(at)?.processes ? points.get(at)[name] : null)))
  const seconds = times.map((at) => at / 1000)
  if (charts) {
    for (const [chart, names] of charts) chart.put(seconds, values(names))
    return
  }
  const chart = (caption, names, format, tick) => [lineChart({ caption, times: seconds, lines: names.map(([, label], at) => ({ label, values: values(names)[at] })), format, tick, step: EACH / 1000 }), names]
  charts = [chart('Requests, recommendations and events a second', RATES, each, tickOf),
    chart('Time to answer a recommendation', TIMES, (value) => ms(value ?? null), (value) => `${tickOf(value)} ms`),
    chart('Answers a second that failed, were refused, or left something out', TROUBLE, each, tickOf)]
  $('lines').replaceChildren(...charts.map(([made], at) => section(['A second', 'Time to answer recommendations', 'Failed, refused, degraded, a second'][at], made)))
}

function stages(found) {
  if (!found.stages.length) return section('Where the time goes', make('p', {}, 'No recommendation was asked for in the last minute.'))
  const longest = Math.max(...found.stages.map((one) => one.p99_ms ?? 0))
  const columns = [
    { label: 'Stage', cell: (row) => make('span', { title: STAGES[row.stage] ?? null }, row.stage.replaceAll('_', ' ')), value: (row) => row.stage },
    { label: 'Half within', number: true, cell: (row) => ms(row.p50_ms), value: (row) => row.p50_ms },
    { label: '99% within', number: true, cell: (row) => ms(row.p99_ms), value: (row) => row.p99_ms },
    { label: '', cell: (row) => meter((row.p99_ms ?? 0) / (longest || 1)) },
    { label: 'Times', number: true, cell: (row) => count(row.count), value: (row) => row.count },
    { label: 'What it is', cell: (row) => STAGES[row.stage] ?? '' },
  ]
  return section('Where the time goes', make('p', { class: 'quiet' }, 'Of recommendations in the last minute. Stages add up to the total, of each answer.'), table({ caption: 'Times by stage', columns, rows: found.stages }))
}

function meter(share) {
  const made = make('span', { class: 'meter', 'aria-hidden': 'true' }, make('span'))
  made.firstChild.style.setProperty('--to', `${Math.max(1, 100 * share)}%`)
  return made
}

function degraded(found) {
  const rows = Object.entries(found.degraded)
  if (found.stale) rows.push(['stale', found.stale])
  if (!rows.length) return section('What was left out', make('p', {}, found.recommendations ? 'Nothing: every answer of the last minute is whole.' : 'No recommendation was asked for in the last minute.'))
  const of = Math.max(1, found.recommendations)
  return section('What was left out', make('p', { class: 'quiet' }, 'Answers of the last minute that left something out; one may leave out several.'),
    make('ul', { class: 'rows' }, rows.sort((one, other) => other[1] - one[1]).map(([name, n]) =>
      make('li', { 'data-degraded': name }, make('div', { class: 'line' }, make('b', {}, name), make('span', {}, `${count(n)} · ${percent(Math.min(1, n / of))}`)), make('p', { class: 'quiet' }, DEGRADED[name] ?? 'See docs/api.md.')))))
}

$('main').replaceChildren(make('h1', {}, 'Live'), make('p', { id: 'who', class: 'quiet' }), make('dl', { id: 'tiles', class: 'tiles four' }),
  make('div', { id: 'lines', class: 'stack' }), make('div', { id: 'degraded' }), make('div', { id: 'stages' }))

const noted = () => load().catch((error) => {
  failed = true
  throw error
})
await doing(noted)
every(EACH, noted)
document.addEventListener('visibilitychange', () => !document.hidden && noted().catch((error) => tell(error.message, true)))
