// Is all of it there and well: what is wrong first, then processes, flows, Redis, the index, the log, dead letters.

import { $, copyable, make, section } from './elements.js'
import { call, doing, every, tell } from './frame.js'
import { count, DASH, lasting, moment, percent } from './numbers.js'
import { table } from './tables.js'

const EACH = 5000
const UNITS = [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]
const KINDS = { gateway: 'answers requests', sessions: 'clicks into sessions', items: 'the catalogue', trends: 'what trends', profiles: 'what users like', attribution: 'what came of what was shown', quality: 'whether the clicks can be trusted', index: 'builds index snapshots', 'index-shard': 'searches a share of the items', relay: 'brings trends to the gateways of its machine', judge: 'looks at experiments', retrain: 'trains models again and again' }
const FULL = 0.85 // of Redis's memory: from there on it is said
const BEHIND = 1000 // records: from there on it is said

function bytes(value) {
  if (typeof value !== 'number') return DASH
  const [size, unit] = UNITS.find(([least]) => value >= least) ?? [1, 'bytes']
  return `${count(value / size)} ${unit}`
}

const state = (text, good) => make('span', { class: `state ${good ? 'running' : 'bad'}` }, text)
const facts = (pairs) => make('dl', { class: 'facts' }, pairs.filter(Boolean).map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))))

// ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────

// [sentence, what to do]
function wrong(found) {
  const said = []
  const { redis } = found
  if (!found.ready) said.push([`This gateway is not ready: ${found.why_not}.`, null])
  if (!redis.answers) said.push(['Redis does not answer: nothing new is taken, answers come from memory.', 'nextclick doctor'])
  if (redis.takes_writes === false) said.push([`Redis takes no writes: ${redis.why}. The flows wait.`, null])
  if (redis.most_bytes && redis.used_bytes / redis.most_bytes > FULL) said.push([`Redis is ${percent(redis.used_bytes / redis.most_bytes)} full: raise its maxmemory, or keep less.`, null])
  if (redis.appended_well === false || redis.saved_well === false) said.push(['Redis cannot write its files: look at its disk. What it holds would be lost with it.', null])
  for (const one of found.processes.filter((process) => !process.alive)) {
    said.push([`${one.kind} (process ${one.pid} on ${one.host}) has said nothing for ${lasting(found.at_ms - one.at_ms)}: it was killed, or its machine is gone.`, null])
  }
  for (const one of found.flows) {
    if (one.behind >= BEHIND) said.push([`${one.flow} is ${count(one.behind)} records of ${one.topic} behind: it is down, or short of processors.`, null])
    if (one.lost) said.push([`${one.flow} lost ${count(one.lost)} records of ${one.topic}: the log let them go before they were read. Give it more room (log settings).`, null])
  }
  for (const [name, one] of Object.entries(found.tables)) if (!one.following) said.push([`This process does not follow the table ${name} now.`, null])
  return said
}

function verdict(found) {
  const said = wrong(found)
  if (!said.length) return make('section', { class: 'card verdict ship', id: 'verdict' }, make('p', { class: 'decision' }, 'All is well.'), make('p', { class: 'quiet' }, `Looked at every 5 s. ${found.processes.filter((one) => one.alive).length} processes answer, nothing is behind.`))
  return make('section', { class: 'card verdict stop', id: 'verdict' }, make('p', { class: 'decision' }, said.length === 1 ? 'One thing is wrong.' : `${said.length} things are wrong.`),
    make('ul', { class: 'rows' }, said.map(([text]) => make('li', {}, text))))
}

// ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────

function processes(found) {
  const columns = [
    { label: 'Process', value: (row) => row.kind, cell: (row) => make('span', { title: KINDS[row.kind.replace(/-\d+$/, '')] ?? null }, row.kind) },
    { label: 'State', value: (row) => String(row.alive), cell: (row) => state(row.alive ? 'alive' : `silent for ${lasting(found.at_ms - row.at_ms)}`, row.alive) },
    { label: 'Since', value: (row) => row.started_ms, cell: (row) => `${lasting(Math.max(0, found.at_ms - row.started_ms))} (${moment(row.started_ms).slice(5, 16)})` },
    { label: 'Process id', number: true, value: (row) => row.pid, cell: (row) => String(row.pid) },
    { label: 'Machine', value: (row) => row.host, cell: (row) => row.host },
    { label: 'Code', value: (row) => row.version, cell: (row) => row.version || DASH },
    { label: 'Serves', cell: (row) => row.serves.version || (row.serves.session_model ? `model ${row.serves.session_model.slice(0, 8)}` : DASH) },
  ]
  const missing = ['sessions', 'items', 'trends'].filter((kind) => !found.processes.some((one) => one.kind === kind))
  return section('Processes', found.processes.length ? table({ caption: 'Processes of this deployment', columns, rows: found.processes }) : make('p', {}, 'None has told of itself yet.'),
    missing.length ? make('p', { class: 'quiet' }, `No process of ${missing.join(', ')} tells of itself. `, make('code', {}, 'nextclick up'), ' starts all; one that ended by itself is not listed.') : null)
}

function flows(found) {
  if (!found.flows.length) return section('Flows', make('p', {}, 'No flow has read anything yet. Send an event, and it shows here how far each is.'))
  const columns = [
    { label: 'Flow', value: (row) => row.flow, cell: (row) => row.flow },
    { label: 'Topic', value: (row) => row.topic, cell: (row) => row.topic },
    { label: 'Records behind', number: true, value: (row) => row.behind, cell: (row) => count(row.behind) },
    { label: 'Lost', number: true, value: (row) => row.lost, cell: (row) => count(row.lost) },
  ]
  return section('Flows', table({ caption: 'How far flows are behind', columns, rows: found.flows }))
}

function redis({ redis: one }) {
  if (!one.answers) return section('Redis', make('p', { class: 'wrong' }, 'It does not answer.'))
  const full = one.most_bytes ? `${bytes(one.used_bytes)} of ${bytes(one.most_bytes)} (${percent(one.used_bytes / one.most_bytes)})` : `${bytes(one.used_bytes)}, without a bound`
  const kept = one.append_only ? 'append-only file' : 'none appended: what came since the last snapshot file is lost with it'
  return section('Redis', facts([
    ['Memory', full], ['Keys', count(one.keys)], ['Takes writes', one.takes_writes === null ? 'not known' : one.takes_writes ? 'yes' : `no: ${one.why}`],
    ['Kept on disk', one.appended_well === false || one.saved_well === false ? 'writing failed' : kept],
    one.saved_s ? ['Last snapshot file', moment(1000 * one.saved_s)] : null,
    ['Let go for room', count(one.evicted)], ['Connections', count(one.clients)], ['Up for', one.uptime_s === null ? DASH : lasting(1000 * one.uptime_s)], ['Version', one.version ?? DASH],
  ]))
}

function index({ index: one, tables }) {
  if (!one.items) return section('Index', make('p', {}, 'No item can be found yet: load a catalogue.'), copyable('nextclick items load items.csv'))
  const age = tables.catalogue?.age_ms
  return section('Index', make('p', { class: 'quiet' }, 'Of the process that answered.'), facts([
    ['Items that can be found', count(one.items)], ['In the snapshot', one.base_items ? count(one.base_items) : 'none is used'], ['In this process\u2019s own graph', count(one.delta_items)],
    ['Hidden in the snapshot', count(one.superseded)], ['Deleted rows', percent(one.tombstone_share)], ['Recall', one.recall === null ? 'not measured yet' : percent(one.recall)],
    ['Snapshots taken up', count(one.swaps)], one.refused ? ['Snapshots refused', count(one.refused)] : null,
    one.newest_item_age_seconds === null ? null : ['Newest item made', `${lasting(1000 * one.newest_item_age_seconds)} ago`],
    age === undefined || age === null ? null : ['Catalogue heard of', age < 2000 ? 'now' : `${lasting(age)} ago`],
  ]))
}

function log(found) {
  const rows = Object.entries(found.log_bytes)
  if (found.log === 'kafka') return section('Event log', make('p', {}, 'Kafka keeps it: its own tools tell of its size.'))
  return section('Event log', rows.length ? facts(rows.map(([name, value]) => [name, bytes(value)])) : make('p', {}, 'Redis does not tell now.'))
}

function letters({ dead_letters: one }) {
  if (one === null) return section('Dead letters', make('p', {}, 'They are being counted, or cannot be read now.'))
  const reasons = Object.entries(one.by_reason)
  if (!reasons.length) return section('Dead letters', make('p', {}, 'None: everything that was sent could be taken. What cannot be is kept here, with its reason.'))
  return section('Dead letters', make('p', { class: 'quiet' }, `Newest ${moment(one.newest_ms)}. Counted every half minute.`),
    make('ul', { class: 'rows' }, reasons.map(([reason, n]) => make('li', { class: 'line' }, make('code', {}, reason), make('b', {}, count(n))))),
    make('p', {}, 'Look at them, mend what is wrong, then send them again:'), copyable(`nextclick dead-letters list --reason ${reasons[0][0]}`), copyable(`nextclick dead-letters replay --reason ${reasons[0][0]}`))
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

let failed = false
let said = ''

async function load() {
  const found = await call('GET', '/api/system')
  if (failed) tell('')
  failed = false
  const now = JSON.stringify({ ...found, at_ms: 0 })
  if (now === said || $('system').contains(document.activeElement)) return // whoever reads or copies is not interrupted
  said = now
  $('system').replaceChildren(verdict(found), processes(found), make('div', { class: 'halves' }, flows(found), redis(found), index(found), log(found)), letters(found))
}

const noted = () => load().catch((error) => {
  failed = true
  throw error
})
$('main').replaceChildren(make('h1', {}, 'System'), make('div', { id: 'system', class: 'stack' }))
await doing(noted)
every(EACH, noted)
