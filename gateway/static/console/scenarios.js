// Scenarios: the list of them, or with ?name= one of them, to be edited, tried and published.

import { $, button, labelled, make, section } from './elements.js'
import { call, doing } from './frame.js'
import { lasting } from './numbers.js'
import { inWords } from './words.js'
import { showScenario } from './scenario.js'

const SHOWN = 4 // sentences of a card
const NAME = '[a-z0-9_\\-]{1,64}'
const url = (name) => `/console/scenarios?${new URLSearchParams({ name })}`

function card(one) {
  const words = inWords(one.scenario, one.name)
  const when = one.version ? `published ${lasting(Math.max(0, Date.now() - one.published_ms))} ago` : null
  return make('a', { class: 'card link', href: url(one.name), 'data-scenario': one.name },
    make('span', { class: 'line' }, make('b', {}, one.name), make('span', { class: one.version ? 'state running' : 'state' }, one.version ? `version ${one.version}` : 'as it is')),
    one.scenario.description ? make('span', {}, one.scenario.description) : null,
    when ? make('span', { class: 'quiet' }, when) : null,
    words.slice(0, SHOWN).map((text) => make('span', {}, text)),
    words.length > SHOWN ? make('span', { class: 'quiet' }, `and ${words.length - SHOWN} more`) : null)
}

function newScenario(form, open) {
  open.disabled = true
  const name = make('input', { id: 'new-name', pattern: NAME, maxlength: 64, required: true, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder: 'deals', title: 'a to z, 0 to 9, _ and -' })
  const made = make('form', { class: 'inline' }, labelled('Name: a to z, 0 to 9, _ and -', name), make('button', { type: 'submit', class: 'main' }, 'Write it'))
  made.onsubmit = (event) => {
    event.preventDefault()
    location.assign(url(name.value))
  }
  form.replaceChildren(section('A new scenario', make('p', {}, 'A site asks for it by its name, as it asks for a placement. Nothing is published before you say so.'), made))
  name.focus()
}

async function list() {
  const { scenarios } = await call('GET', '/api/scenarios')
  const own = scenarios.filter((one) => one.version)
  const plain = scenarios.filter((one) => !one.version)
  const group = (title, ones, none) => make('section', {}, make('h2', {}, title),
    ones.length ? make('ul', { class: 'cards' }, ones.map((one) => make('li', {}, card(one)))) : make('p', { class: 'quiet' }, none))
  $('list').replaceChildren(
    group('Published', own, 'Nothing yet: every placement answers as it is. Open one, write what it is to decide, and see beside it what changes.'),
    group('Placements as they are', plain, 'None: something is published over each.'))
}

const name = new URLSearchParams(location.search).get('name')

if (name) await doing(() => showScenario(name))
else {
  const form = make('div')
  const open = button('New scenario', () => newScenario(form, open), { class: 'main', id: 'new' })
  $('main').replaceChildren(make('div', { class: 'line' }, make('h1', {}, 'Scenarios'), open), form, make('div', { id: 'list' }))
  await doing(list)
}
