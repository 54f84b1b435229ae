// Experiments: the list of them, or with ?name= one of them.

import { $, button, copyable, make, section } from './elements.js'
import { call, doing, every, notice } from './frame.js'
import { lasting, moment } from './numbers.js'
import { showExperiment } from './experiment.js'
import { newExperiment } from './new_experiment.js'
import { decided } from './words.js'

const EVERY_MS = 15_000
const GROUPS = [
  ['running', 'Running'],
  ['planned', 'Planned'],
  ['ended', 'Ended: their dates are over'],
  ['stopped', 'Stopped'],
]
const EXAMPLE = `curl -X PUT ${location.origin}/api/experiments/margin-first -H 'content-type: application/json' -d '
{"scenario": "homepage",
 "variants": [{"name": "control", "share": 0.5},
              {"name": "margin", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}}],
 "metric": "clicks/pages"}'`

const url = (name) => `/console/experiments?${new URLSearchParams({ name })}`

function since(one) {
  const now = Date.now()
  const begun = Math.max(one.started_ms, Date.parse(one.experiment.start ?? 0) || 0)
  if (one.state === 'planned') return `begins ${moment(Date.parse(one.experiment.start))}`
  if (one.state === 'running') return `for ${lasting(now - begun)}`
  const end = one.stopped_ms ?? Date.parse(one.experiment.end)
  return `${lasting(Math.max(0, end - begun))}, until ${moment(end)}`
}

function card(one) {
  const { experiment } = one
  const shares = experiment.variants.map((variant) => `${variant.name} ${Math.round(1000 * variant.share) / 10}%`).join(' · ')
  return make('a', { class: 'card link', href: url(one.name), 'data-experiment': one.name },
    make('span', { class: 'line' }, make('b', {}, one.name), make('span', { class: `state ${one.state}` }, one.state)),
    make('span', { class: 'quiet' }, `${experiment.scenario} · ${experiment.metric ?? 'clicks/pages'} · ${since(one)}`),
    make('span', { class: 'quiet' }, shares),
    one.decision || one.promoted ? make('span', { class: `decides ${one.verdict ?? ''}` }, decided(one, one.decision)) : null,
    one.why && one.why !== one.decision ? make('span', { class: 'quiet' }, one.why) : null)
}

// Null where the flow of attribution counts. It tells by the offsets that figures stand on: none, where it never ran.
export async function withoutAttribution() {
  const now = Date.now()
  const { offsets } = await call('GET', `/api/kpi?${new URLSearchParams({ by: 'recommended', metric: 'pages', from: now, to: now })}`)
  if (Object.keys(offsets).length) return null
  return notice('Attribution is off', make('p', {}, 'Nothing counts what was shown and what came of it, so there are no reports and no figures. Start the gateway and its flows with this setting:'),
    copyable('NEXTCLICK_ATTRIBUTION__RUN=true NEXTCLICK_JUDGE__RUN=true nextclick up'))
}

function empty() {
  return section('No experiment yet',
    make('p', {}, 'An experiment shows each share of the visitors a variant of a scenario. Sites have nothing to do. Start one below, or so:'),
    copyable(EXAMPLE))
}

async function list() {
  const { experiments } = await call('GET', '/api/experiments')
  const off = await withoutAttribution()
  const groups = GROUPS.map(([state, title]) => [title, experiments.filter((one) => one.state === state)]).filter(([, ones]) => ones.length)
  $('list').replaceChildren(...[off, experiments.length ? null : empty()].filter(Boolean), ...groups.map(([title, ones]) =>
    make('section', {}, make('h2', {}, title), make('ul', { class: 'cards' }, ones.map((one) => make('li', {}, card(one)))))))
}

const name = new URLSearchParams(location.search).get('name')

if (name) await doing(() => showExperiment(name, withoutAttribution))
else {
  const form = make('div')
  const open = button('New experiment', () => newExperiment(form, open), { class: 'main', id: 'new' })
  $('main').replaceChildren(make('div', { class: 'line' }, make('h1', {}, 'Experiments'), open), form, make('div', { id: 'list' }))
  await doing(list)
  every(EVERY_MS, list)
}
