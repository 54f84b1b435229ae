// Webhooks: what is told to the shop's server, what waits, and what it did not take.

import { $, copyable, make, section, tile } from './elements.js'
import { call, doing, every, notice } from './frame.js'
import { count, lasting, moment, percent } from './numbers.js'
import { table } from './tables.js'

const EACH = 5000
const DAY = 86_400_000
const OLD = 900_000 // ms: a call that waits longer is said
const TRIED = 3 // a call that was not taken so often is said

const facts = (pairs) => make('dl', { class: 'facts' }, pairs.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))))
const dead = (found) => found.failures.filter((one) => one.over && found.at_ms - one.at_ms < DAY)
const waited = ({ at_ms: now, queue }) => (queue.oldest_ms === null ? 0 : Math.max(0, now - queue.oldest_ms))

// ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────

function wrong(found) {
  const said = []
  const { queue, settings } = found
  const lately = dead(found).length
  const [last] = found.failures // newest first
  const again = last && !last.over && last.attempt >= TRIED && queue.oldest_ms !== null && last.at_ms >= queue.oldest_ms
  if (again) said.push(`${count(queue.waiting)} ${queue.waiting === 1 ? 'call waits' : 'calls wait'}: the last one was tried ${last.attempt} times, ${last.why}.`)
  else if (waited(found) > OLD) said.push(`The oldest call has waited for ${lasting(waited(found))}: your server does not take it.`)
  if (queue.waiting >= settings.max_waiting) said.push(`${count(queue.waiting)} calls wait: no more are kept, newer ones are left out.`)
  if (lately) said.push(`${lately === 1 ? 'A call was' : `${count(lately)} calls were`} given up within a day: dead letters.`)
  return said
}

function verdict(found) {
  const said = wrong(found)
  if (!said.length) return make('section', { class: 'card verdict ship', id: 'verdict' }, make('p', { class: 'decision' }, 'Every call was taken, or is on its way.'), make('p', { class: 'quiet' }, 'Looked at every 5 s.'))
  return make('section', { class: 'card verdict stop', id: 'verdict' }, make('p', { class: 'decision' }, said.length === 1 ? 'One thing is to be looked at.' : `${said.length} things are to be looked at.`),
    make('ul', { class: 'rows' }, said.map((text) => make('li', {}, text))), dead(found).length ? copyable('nextclick dead-letters list --reason webhook_not_taken') : null)
}

// ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────

const tiles = (found) => make('dl', { class: 'tiles four' },
  tile('waiting', 'Calls that wait', count(found.queue.waiting), found.queue.waiting ? `the oldest for ${lasting(waited(found))}` : `at most ${count(found.settings.max_waiting)}`),
  tile('delivered', 'Taken by your server', count(found.counts.delivered), 'since the deployment began'),
  tile('dead', 'Given up', count(found.counts.dead), `after ${count(found.settings.attempts)} attempts, or an answer that says never`),
  tile('left_out', 'Left out', count(found.counts.left_out), 'as too many waited'))

function failures(found) {
  if (!found.failures.length) return section('What was not taken', make('p', {}, 'Nothing.'))
  const columns = [
    { label: 'When', value: (one) => one.at_ms, cell: (one) => moment(one.at_ms).slice(5) },
    { label: 'Of what', value: (one) => one.about, cell: (one) => make('span', { class: 'wrapped' }, one.about) },
    { label: 'Attempt', number: true, value: (one) => one.attempt, cell: (one) => count(one.attempt) },
    { label: 'Why', value: (one) => one.why, cell: (one) => make('span', { class: 'wrapped' }, one.why) },
    { label: 'Then', cell: (one) => make('span', { class: `state ${one.over ? 'bad' : ''}` }, one.over ? 'given up' : 'again') },
    { label: 'Idempotency-Key', cell: (one) => make('code', {}, one.id) },
  ]
  return section('What was not taken', make('p', { class: 'quiet' }, 'The newest 20 attempts.'), table({ caption: 'Attempts that were not taken', columns, rows: found.failures }))
}

function settings({ settings: one }) {
  return section('What is set', facts([
    ['Calls go to', one.url], ['Origins that may be called', one.allow.join(', ')], ['Secrets that sign', count(one.secrets)],
    ['A price drop is told from', percent(one.price_drop)], ['Attempts', count(one.attempts)], ['Longest pause', lasting(1000 * one.longest_pause_s)], ['Wait for an answer', lasting(1000 * one.timeout_s)],
    ['Users told of an item', `${count(one.max_users)}, ${count(one.users_a_call)} a call`], ['Items that a user waits for', `${count(one.max_items)}, for ${lasting(1000 * one.keep_s)}`],
  ]))
}

const off = () => notice('Webhooks are off', make('p', {}, 'When a price falls or an item is back in stock, your server can be told who waits for it:'),
  copyable("export NEXTCLICK_WEBHOOKS__URL=https://shop.example/hooks\nexport NEXTCLICK_WEBHOOKS__ALLOW='[\"https://shop.example\"]'\nexport NEXTCLICK_WEBHOOKS__SECRETS='[\"at least 16 characters of your own\"]'\nnextclick up"))

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

let seen = ''

async function load() {
  const found = await call('GET', '/api/webhooks')
  const now = JSON.stringify({ ...found, at_ms: found.queue.waiting ? found.at_ms : 0 })
  if (now === seen || (seen && $('webhooks').contains(document.activeElement))) return // whoever reads or copies is not interrupted
  seen = now
  const any = found.on || found.queue.waiting || found.failures.length
  $('webhooks').replaceChildren(...[found.on ? null : off(), any ? verdict(found) : null, any ? tiles(found) : null, any ? failures(found) : null, found.on ? settings(found) : null].filter(Boolean))
}

$('main').replaceChildren(make('h1', {}, 'Webhooks'), make('div', { id: 'webhooks', class: 'stack' }))
await doing(load)
every(EACH, load)
