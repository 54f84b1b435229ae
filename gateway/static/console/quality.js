// Can the data be trusted: checks of what comes in, the worst first, and how far features moved since training.

import { $, copyable, make, section, tile } from './elements.js'
import { call, doing, every, notice } from './frame.js'
import { count, DASH, moment, percent, plain } from './numbers.js'
import { table } from './tables.js'

const EACH = 30_000 // a gateway looks no more often
const LEAST_PAGES = 100 // fewer say nothing of drift
const MOVED = [[0.25, 'moved', 'bad'], [0.1, 'a little', 'warn'], [-1, 'as in training', 'running']] // above this index
const ORDER = ['bad', 'warn', 'ok', 'not enough data']
const CHIP = { bad: 'bad', warn: 'warn', ok: 'running' }
const ABOUT = {
  silent: (of) => `Events of type ${of} that come, beside the quietest of the same minutes of earlier days`,
  broken: () => 'Records that are no event',
  future: () => 'Records with a time that is yet to come, or in seconds',
  late: () => 'Events that come late',
  duplicate: () => 'Events whose id came before',
  unknown: () => 'Events on ids that the catalogue has not',
  bots: () => 'Events of sessions that no human has',
  values: () => 'Values that are not above 0, or far from the usual',
  title: () => 'Items without a title',
  price: () => 'Items without a price',
  category: () => 'Items without a category',
  picture: () => 'Items without a picture',
  stock: () => 'Items without a stock',
  prices: () => 'Prices that are 0, or far from those of their category',
}

const chip = (text, look) => make('span', { class: `state ${look ?? ''}` }, text)
const times = (n, one, many) => `${n === 1 ? 'One' : count(n)} ${n === 1 ? one : many}`

// A sentence with commands between backticks.
const said = (text) => text.split('`').map((part, at) => (at % 2 ? make('code', {}, part) : part))

// ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────

// Whether events are counted: by a flow that this process knows of, or another's.
const counted = (found) => found.running || found.checks.some((one) => one.name === 'broken' && one.figure !== null)

function verdict(found) {
  const of = (state) => found.checks.filter((one) => one.state === state).length
  const words = {
    bad: `${times(of('bad'), 'check is', 'checks are')} bad.`,
    warn: `Nothing is bad, ${times(of('warn'), 'check warns', 'checks warn').toLowerCase()}.`,
    ok: counted(found) ? 'The data can be trusted.' : 'The catalogue is well; events are not counted.',
    'not enough data': 'Too little was seen to say anything.',
  }
  const look = { bad: 'stop', ok: 'ship' }[found.state] ?? ''
  return make('section', { class: `card verdict ${look}`, id: 'verdict' }, make('p', { class: 'decision' }, words[found.state]),
    make('p', { class: 'quiet' }, `Looked at ${moment(found.at_ms)}, every half minute. Of ${count(found.checks.length)} checks ${count(of('ok'))} are well, and ${count(of('not enough data'))} have not enough data.`))
}

function off(found) {
  if (counted(found)) return null
  return notice('The quality flow is off', make('p', {}, 'Nobody counts the events that come in, so only the catalogue is checked. Switch the flow on:'), copyable('nextclick up --quality'),
    make('p', { class: 'quiet' }, 'In containers: ', make('code', {}, 'QUALITY=true docker compose --profile quality up -d'), '. Elsewhere: ', make('code', {}, 'nextclick flow quality'), ', with ', make('code', {}, 'NEXTCLICK_QUALITY__RUN=true'), ' for gateways and the trends flow too. The first figures come within minutes; silent trackers are seen once two days are known.'))
}

function tiles(found) {
  const bots = found.checks.find((one) => one.name === 'bots')
  const furthest = found.drift.reduce((most, one) => (most === null || one.psi > most.psi ? one : most), null)
  return make('dl', { class: 'tiles' },
    tile('bots', 'Sessions that no human has', counted(found) ? count(found.bots) : DASH, 'within a day; left out of trends, votes and training'),
    tile('bot_share', 'Their share of the events', percent(bots?.figure), 'in the last hour'),
    tile('drift', 'Feature that moved most', furthest ? plain(furthest.psi) : DASH, furthest ? `${furthest.name}, population stability index` : found.drift_pages === null ? 'nothing is compared here' : 'too few pages were compared yet'))
}

// ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

function figure({ name, figure: share, threshold }) {
  if (share === null) return DASH
  return name === 'silent' ? `${percent(share)}, bad at ${percent(threshold)} or less` : `${percent(share)}, bad from ${percent(threshold)} on`
}

const row = (one) => make('li', { class: 'card', 'data-check': `${one.name} ${one.of}`.trim() },
  make('div', { class: 'line' }, make('b', {}, `${one.name} ${one.of}`.trim()), chip(one.state, CHIP[one.state])),
  make('p', { class: 'quiet' }, `${ABOUT[one.name]?.(one.of) ?? 'See docs/quality.md'}: ${figure(one)}.`),
  one.state === 'bad' || one.state === 'warn' ? make('p', {}, said(one.says)) : null)

function checks(found) {
  const sorted = [...found.checks].sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state))
  const unknown = sorted.filter((one) => one.state === 'not enough data')
  const known = sorted.filter((one) => one.state !== 'not enough data')
  return make('section', { class: 'stack' }, make('h2', {}, 'Checks'),
    known.length ? make('ul', { class: 'cards', id: 'checks' }, known.map(row)) : make('p', {}, 'None has enough data yet.'),
    unknown.length ? make('details', { class: 'card', id: 'unknown' }, make('summary', {}, `Not enough data (${unknown.length})`),
      make('ul', { class: 'rows' }, unknown.map((one) => make('li', {}, make('b', {}, `${one.name} ${one.of}`.trim()), ' ', make('span', { class: 'quiet' }, said(one.says)))))) : null)
}

// ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────────

const moved = (psi) => MOVED.find(([from]) => psi > from) ?? MOVED.at(-1)

function drift(found) {
  const why = found.drift_pages === null
    ? 'This process compares nothing: there is no re-ranker, it was trained before this was kept with it (train it again), or gateway.drift_every is 0.'
    : `${count(found.drift_pages)} of the ${LEAST_PAGES} pages that it takes were compared yet. One of every few home pages of sessions with clicks is.`
  if (!found.drift.length) return section('Drift since training', make('p', { id: 'drift' }, why))
  const columns = [
    { label: 'Feature', value: (one) => one.name, cell: (one) => one.name },
    { label: '', value: (one) => one.psi, cell: (one) => chip(...moved(one.psi).slice(1)) },
    { label: 'Population stability index', number: true, value: (one) => one.psi, cell: (one) => plain(one.psi) },
    { label: 'Kolmogorov-Smirnov distance', number: true, value: (one) => one.ks, cell: (one) => plain(one.ks) },
  ]
  const made = section('Drift since training', make('p', { class: 'quiet' }, `What the re-ranker reads now, beside what it learnt from: ${count(found.drift_pages)} pages of the process that answered. Below 0.1 nothing moved, above 0.25 it did: look whether items lost a field or the tracker an event; if neither, retrain.`),
    table({ caption: 'How far features moved', columns, rows: found.drift, sorted: { at: 2, down: true } }))
  made.id = 'drift'
  return made
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

let seen = ''

async function load() {
  const found = await call('GET', '/api/quality')
  const now = JSON.stringify(found)
  if (now === seen || (seen && $('quality').contains(document.activeElement))) return // whoever reads or copies is not interrupted
  seen = now
  const open = $('unknown')?.open
  $('quality').replaceChildren(...[verdict(found), off(found), tiles(found), checks(found), drift(found)].filter(Boolean))
  if (open && $('unknown')) $('unknown').open = true
}

$('main').replaceChildren(make('h1', {}, 'Quality'), make('div', { id: 'quality', class: 'stack' }))
await doing(load)
every(EACH, load)
