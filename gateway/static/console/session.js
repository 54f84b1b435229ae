// One session: its clicks, what is near to it, the answer it gets now and why, and the answer without some clicks.

import { $, button, copyable, labelled, make, section, select } from './elements.js'
import { call, doing, tell } from './frame.js'
import { lasting } from './numbers.js'
import { aboutAnswer, droppedPart, itemLink, preview, ranking, requestOf, sessionUrl } from './answers.js'
import { whyNot, whyNotPart } from './why_not.js'

const SHOWN = 10
const params = new URLSearchParams(location.search)
const EXAMPLE = `curl -X POST ${location.origin}/api/recommendations/homepage -H 'content-type: application/json' -d '{"session_id": "s-42"}'`
const id = params.get('id')
const forgotten = new Set() // `event` of clicks
let scenarios = [] // as published
let found = null // the session
let chosen = params.get('scenario') ?? 'homepage'
let turn = 0 // of the newest question: an older answer is not shown

const ago = (ms) => `${lasting(ms)} ago`
const one = () => scenarios.find((scenario) => scenario.name === chosen) ?? scenarios[0]

// ── which session ────────────────────────────────────────────────────────────────────────────────────────────────

function chooser() {
  const text = make('input', { id: 'session-id', value: id ?? '', maxlength: 256, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true })
  const form = make('form', { class: 'inline' }, labelled('Session id', text), make('button', { type: 'submit', class: 'main' }, 'Show it'))
  form.onsubmit = (event) => {
    event.preventDefault()
    location.assign(sessionUrl(text.value.trim()))
  }
  return section('Which session', form, make('div', { id: 'recent', class: 'stack' }))
}

async function recent() {
  const { sessions } = await call('GET', '/api/sessions')
  const now = Date.now()
  $('recent').replaceChildren(...(sessions.length ? [
    make('p', { class: 'quiet' }, 'Answered lately by this process:'),
    make('ul', { class: 'chips' }, sessions.map((session) => make('li', {},
      make('a', { class: 'chip', href: sessionUrl(session.session_id), 'aria-current': session.session_id === id ? 'true' : null },
        session.session_id, make('small', {}, ` ${session.scenario}, ${ago(Math.max(0, now - session.asked_ms))}`))))),
  ] : [
    make('p', {}, 'Nobody asked this process for recommendations yet. Open the shop, or ask yourself:'), copyable(EXAMPLE),
  ]))
}

// ── what is known of it ──────────────────────────────────────────────────────────────────────────────────────────

function clicks() {
  const rows = found.clicks.map((click) => {
    const name = click.item_id === undefined ? 'an item that the catalogue does not have' : click.title
    const forget = button('Forget', () => {
      if (!forgotten.delete(click.event)) forgotten.add(click.event)
      forget.setAttribute('aria-pressed', String(forgotten.has(click.event)))
      doing(answers)
    }, { 'aria-pressed': 'false', 'aria-label': `Forget the ${click.type} of ${name}`, 'data-forget': click.event })
    return make('li', { 'data-click': click.item_id ?? '' }, make('span', { class: 'state' }, click.type),
      make('span', { class: 'of' }, click.item_id === undefined ? name : itemLink(click.item_id, click.title), make('small', { class: 'quiet' }, ` ${ago(click.age_ms)}`)), forget)
  })
  const beyond = found.events - found.clicks.length
  return section('Clicks', make('p', { class: 'quiet' }, 'Newest first. Forget one, and see beside the list what it changes. The session stays as it is.'),
    make('ol', { class: 'clicked' }, rows),
    beyond > 0 ? make('p', { class: 'quiet' }, `${beyond} older click${beyond === 1 ? '' : 's'} left the window. They count in the list as it is, and not in one that forgets a click.`) : null)
}

function nearest() {
  if (!found.nearest.length) return section('Nearest items', make('p', { class: 'quiet' }, 'None: there is no model, or no item that was clicked has a vector.'))
  return section('Nearest items', make('p', { class: 'quiet' }, 'By the cosine between the session’s vector and the item’s. Rules and ranking come later.'),
    make('ol', { class: 'near' }, found.nearest.map((item) => near(item, item.similarity, item.similarity.toFixed(2)))))
}

// A row with a bar from 0 to 1.
function near(item, share, text) {
  const bar = make('span', { class: 'share' })
  bar.style.setProperty('--share', Math.max(0, Math.min(1, share)))
  return make('li', {}, make('span', { class: 'of' }, itemLink(item.item_id, item.title)), bar, make('span', { class: 'numbers' }, text))
}

// ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────

function who() {
  const looked = found?.clicks.find((click) => click.item_id !== undefined)?.item_id
  return { session_id: id, ...(found?.user_id ? { user_id: found.user_id } : {}), ...(looked ? { looked } : {}) }
}

async function answers() {
  const mine = ++turn
  const { name, scenario } = one()
  const ask = (asked, forget = []) => preview(name, scenario, who(), { limit: SHOWN, ...asked }, forget)
  const now = await ask({})
  const without = forgotten.size ? await ask({}, [...forgotten]) : null
  if (mine !== turn) return
  const many = forgotten.size
  $('lists').replaceChildren(
    ranking('Now', now, null, { id: 'now' }),
    ...(without ? [ranking(many === 1 ? 'Without that click' : `Without those ${many} clicks`, without, now, { id: 'without' })] : []))
  $('about').replaceChildren(aboutAnswer(now), ...[droppedPart(now)].filter(Boolean))
  $('why-form').onsubmit = (event) => {
    event.preventDefault()
    doing(async () => {
      const item = $('why-item').value.trim()
      $('why-told').replaceChildren(whyNotPart(await whyNot(name, requestOf(name, scenario, who(), { limit: SHOWN }), item)))
    })
  }
}

function answerCard() {
  const names = scenarios.map((scenario) => [scenario.name, scenario.version ? `${scenario.name} (version ${scenario.version})` : scenario.name])
  const which = select('scenario', names, one().name, (name) => {
    chosen = name
    history.replaceState(null, '', `?${new URLSearchParams({ id, scenario: name })}`)
    $('why-told').replaceChildren()
    doing(answers)
  })
  const item = make('input', { id: 'why-item', maxlength: 256, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true })
  return section('The answer it gets', make('div', { class: 'inline' }, labelled('Scenario', which), button('Look again', () => doing(show), { id: 'again' })),
    make('p', { class: 'quiet' }, 'Tried: no experiment takes part, and nothing is logged as shown.'),
    make('form', { id: 'why-form', class: 'inline' }, labelled('Why is an item not there? Its id', item), make('button', { type: 'submit' }, 'Say why')),
    make('div', { id: 'why-told', role: 'status', 'aria-live': 'polite' }),
    make('div', { id: 'lists', class: 'beside' }), make('div', { id: 'about', class: 'stack' }))
}

function facts() {
  const told = [['Clicks', String(found.events)], ['Began', ago(found.now_ms - found.started_ms)], ['Last click', ago(Math.max(0, found.now_ms - found.last_ms))], ['User', found.user_id ?? 'not signed in']]
  return make('dl', { class: 'facts' }, told.map(([term, text]) => make('div', {}, make('dt', {}, term), make('dd', {}, text))))
}

function unknown() {
  return section('Nothing is stored of this session', make('p', {}, 'It had no click, or none within the idle gap, after which a session is over. Its next answer is that of a visitor of whom nothing is known.'))
}

async function show() {
  forgotten.clear()
  try {
    found = await call('GET', `/api/sessions/${encodeURIComponent(id)}`)
  } catch (error) {
    if (error.status !== 404) throw error
    found = null
  }
  ;({ scenarios } = await call('GET', '/api/scenarios'))
  const known = found ? [make('div', { class: 'stack side' }, section(id, facts()), clicks(), nearest())] : [make('div', { class: 'stack side' }, unknown())]
  $('session').replaceChildren(...known, make('div', { class: 'stack' }, answerCard()))
  await answers()
}

$('main').replaceChildren(make('h1', {}, 'Session'), chooser(), make('div', { id: 'session', class: 'split' }))
await doing(async () => {
  tell('')
  await recent()
  if (id) await show()
})
