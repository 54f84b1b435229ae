// The first page: how it does now, and which pages there are.

import { $, make, tile } from './elements.js'
import { every, quietly } from './frame.js'
import { count, lasting, percent, plain } from './numbers.js'

const PAGES = [
  ['Now', [
    ['/console/live', 'Live', 'Requests a second, how fast they are answered, what was left out.'],
    ['/console/system', 'System', 'Processes, flows, Redis, the index, dead letters: what is wrong.'],
    ['/console/quality', 'Quality', 'Can the data be trusted: silent trackers, broken events, bots, drift.'],
  ]],
  ['Connect', [
    ['/console/feeds', 'Feeds', 'Catalogues that are pulled: how that went, and what was wrong line by line.'],
    ['/console/webhooks', 'Webhooks', 'Price drops and items back in stock: what waits, and what was not taken.'],
  ]],
  ['Look', [
    ['/console/session', 'Session', 'One visitor: clicks, the answer now and why, and what one click changes.'],
    ['/console/catalogue', 'Catalogue', 'Items: counts, what goes with them, who shows them and who does not.'],
    ['/console/figures', 'Figures', 'What was shown, and what it earned: clicks, orders, revenue.'],
  ]],
  ['Decide', [
    ['/console/scenarios', 'Scenarios', 'What lists decide: edit, try on a session, publish, go back.'],
    ['/console/experiments', 'Experiments', 'What is tried, what it changed, and whether to ship it.'],
    ['/console/models', 'Models', 'Versions of the models: compare, publish, go back.'],
  ]],
  ['Write to it', [['/docs', 'API', 'Every endpoint, to be tried here.']]],
]
const TODAY = 86_400_000
const EACH = 15_000

$('main').append(make('dl', { id: 'now', class: 'tiles' }), ...PAGES.map(([title, pages]) =>
  make('section', { class: 'stack' }, make('h2', {}, title), make('ul', { class: 'cards' }, pages.map(([href, name, text]) =>
    make('li', {}, make('a', { class: 'card link', href }, make('b', {}, name), make('span', { class: 'quiet' }, text))))))))

// Of what this key may see; the page is of use without any of it.
async function now() {
  const [ready, system, kpi, experiments] = await Promise.all([quietly('/readyz'), quietly('/api/system'), quietly(`/api/kpi?by=recommended&from=${Date.now() - TODAY}&metric=shown,clicks,ctr`), quietly('/api/experiments')])
  const tiles = [tile('ready', 'This gateway', ready?.ready ? 'Ready' : 'Not ready', ready?.ready ? 'it answers requests' : 'see System')]
  if (system) {
    const there = system.processes.filter((one) => one.alive)
    const oldest = Math.min(...there.map((one) => one.started_ms))
    tiles.push(tile('processes', 'Processes that answer', count(there.length), there.length ? `the oldest since ${lasting(Math.max(0, system.at_ms - oldest))}` : 'none told of itself yet'))
    tiles.push(tile('items', 'Items that can be found', count(system.index.items), system.index.items ? 'in the index' : 'load a catalogue first'))
  }
  const row = kpi?.rows.find((one) => one.of.recommended === 'yes')
  if (row?.figures.shown) tiles.push(tile('clicks', 'Click rate, 24 hours', percent(row.figures.ctr), `${count(Math.round(row.figures.clicks))} clicks of ${count(row.figures.shown)} shown`))
  if (experiments) {
    const running = experiments.experiments.filter((one) => one.state === 'running')
    tiles.push(tile('experiments', 'Experiments that run', plain(running.length), running.length ? running.slice(0, 2).map((one) => one.name).join(', ') : 'none'))
  }
  $('now').replaceChildren(...tiles)
}

await now()
$('main').setAttribute('aria-busy', 'false')
every(EACH, now)
