// The demo shop: every click is an event, every event asks for a new list, and the page shows what that changed.

import { call, key, withKey } from './api.js'
import { gridCard, railCard, replaceCards, stageRows } from './cards.js'
import { $, button, look, make, setCurrency } from './elements.js'
import { excluded, forget, hide, isHidden, showHidden, signIn, unhide, userId } from './hidden.js'
import { followList, say } from './status.js'

const SHOWN = 8
const ANY = ''

const items = new Map() // item_id -> item
let session = ''
let clicks = []
let turnedDown = 0 // hides, and their undoing: events of the session that are no clicks
let looked = null // the item whose page the visitor is on
let answer = null
let turn = 0 // the newest question wins
let category = ANY

function randomId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(8))
  return prefix + Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

const titleOf = (itemId) => items.get(itemId)?.title ?? itemId
const who = () => ({ session_id: session, ...(userId() ? { user_id: userId() } : {}) })
const failed = (error) => say(error.message, { problem: true })

// ── a click ──────────────────────────────────────────────────────────────────────────────────────────────────────

// Has the tag send an event; the answers to what is asked after it wait for it.
async function send(type, itemId, requestId) {
  const event = { item_id: itemId, ...(userId() ? { user_id: userId() } : {}), ...(requestId ? { request_id: requestId } : {}) }
  const taken = await nextclick(type, event)
  if (!taken?.rejected) throw new Error(taken?.detail ?? 'no answer: the click waits, and is sent once the gateway is back')
  if (taken.rejected.length) throw new Error(taken.rejected[0].reason)
  if (type === 'hide' || type === 'unhide') turnedDown++
}

async function click(type, itemId, requestId) {
  const began = performance.now()
  const mine = ++turn
  looked = itemId
  clicks = [{ type, itemId }, ...clicks].slice(0, 50)
  showClicks()
  try {
    await send(type, itemId, requestId)
    const sent = performance.now()
    const found = await ask()
    if (mine !== turn) return
    const fresh = await show(found)
    const done = performance.now()
    $('latency').textContent = (done - began).toFixed(done - began < 20 ? 1 : 0)
    $('latency-parts').textContent =
      `${(sent - began).toFixed(1)} ms until the click was safe in the log, ` +
      `${(done - sent).toFixed(1)} ms for the new list` + (found.stale ? ' (the click was not applied in time)' : '')
    const verb = type === 'cart' ? 'In your cart' : 'You looked at'
    const news = fresh ? `${fresh} new in the list` : 'The same list'
    say(`${news}, ${Math.round(done - began)} ms after the click. ${verb}: ${titleOf(itemId)}.`)
  } catch (error) {
    failed(error)
  }
}

async function ask() {
  const placement = looked && !isHidden(looked) ? 'product' : 'homepage'
  const page = placement === 'product' ? { item_id: looked } : {}
  const exclude = excluded().length ? { exclude: excluded() } : {}
  const user = userId() ? { user_id: userId() } : {}
  return withKey(() => nextclick('recommend', placement, { ...user, limit: SHOWN, ...page, ...exclude }))
}

async function refresh() {
  const mine = ++turn
  try {
    const found = await ask()
    if (mine === turn) await show(found)
  } catch (error) {
    failed(error)
  }
}

async function sellOut(itemId) {
  try {
    const written = await call('POST', '/api/stock', [{ item_id: itemId, stock: 0 }])
    if (written.rejected.length) throw new Error(written.rejected[0].reason)
    items.set(itemId, { ...items.get(itemId), stock: 0 })
    cardsOf(itemId, '#grid').forEach((card) => card.classList.add('sold-out'))
    await refresh()
    say(`${titleOf(itemId)}: stock is 0. ` + (written.visible ? 'No list holds it any more.' : 'It will leave the list in a moment.'))
  } catch (error) {
    failed(error)
  }
}

const cardsOf = (itemId, within = '') => document.querySelectorAll(`${within} .card[data-item="${CSS.escape(itemId)}"]`)

// ── do not show me this ──────────────────────────────────────────────────────────────────────────────────────────

async function hideItem(itemId, requestId) {
  await changeHidden(async () => {
    const where = await hide(itemId)
    await send('hide', itemId, requestId)
    return { where }
  }, ({ where }) => say(`Hidden ${where}: ${titleOf(itemId)}.`, { undo: () => showAgain(itemId) }), itemId)
}

async function showAgain(itemId) {
  await changeHidden(async () => {
    await unhide(itemId)
    await send('unhide', itemId)
  }, () => say(`May be shown again: ${titleOf(itemId)}.`), itemId)
}

async function changeHidden(change, told, itemId) {
  const mine = ++turn
  try {
    const done = await change()
    const found = await ask()
    if (mine === turn) await show(found)
    told(done)
  } catch (error) {
    failed(error)
  }
  showHidden(items, showAgain)
  cardsOf(itemId, '#grid').forEach((card) => card.classList.toggle('hidden-item', isHidden(itemId)))
}

async function signInAs(name) {
  try {
    await signIn(name)
    await learn(excluded())
    say(userId() ? `Signed in as ${userId()}: events and requests carry this user.` : 'Signed out.')
  } catch (error) {
    failed(error)
  }
  showHidden(items, showAgain)
  await Promise.all([refresh(), showCategory(category)])
}

async function newVisitor() {
  nextclick('forget')
  session = nextclick('session', randomId('visitor-'))
  clicks = []
  turnedDown = 0
  looked = null
  $('visitor').textContent = session.slice(0, 15)
  $('visitor').title = session
  $('latency').textContent = '–'
  $('latency-parts').textContent = 'Measured in this browser, at your next click.'
  showClicks()
  await forget().then(() => learn(excluded())).catch(failed)
  showHidden(items, showAgain)
  await refresh()
}

// ── what the page shows ──────────────────────────────────────────────────────────────────────────────────────────

const acts = { view: (...of) => click('view', ...of), cart: (...of) => click('cart', ...of), hide: hideItem, sellOut }

async function learn(ids) {
  const unknown = [...new Set(ids)].filter((id) => !items.has(id)).slice(0, 200)
  if (!unknown.length) return
  const query = new URLSearchParams([...unknown.map((id) => ['id', id]), ['limit', String(unknown.length)]])
  const found = await call('GET', `/api/items?${query}`)
  for (const item of found.items) items.set(item.item_id, item)
}

const itemOf = (itemId) => items.get(itemId) ?? { item_id: itemId, title: itemId, category: '' }

// Returns how many items of the list are new in it.
async function show(found) {
  await learn(found.recommendations.map((one) => one.item_id))
  const known = new Set(answer?.recommendations.map((one) => one.item_id))
  const isFresh = (one) => answer !== null && !known.has(one.item_id)
  const rail = $('recommendations')
  replaceCards(rail, found.recommendations.map((one) => railCard(itemOf(one.item_id), one, isFresh(one), found.request_id, acts)))
  $('strip-list').replaceChildren(...found.recommendations.slice(0, 6).map((one) => make('span', {}, look(itemOf(one.item_id)))))
  for (const card of rail.children) nextclick('watch', card, { item_id: card.dataset.item, request_id: found.request_id })
  const fresh = found.recommendations.filter(isFresh).length
  answer = found
  rail.setAttribute('aria-busy', 'false')
  $('rail-empty').hidden = found.recommendations.length > 0
  $('degraded').hidden = found.degraded.length === 0
  $('degraded').textContent = found.degraded.join(', ').replaceAll('_', ' ')
  const many = Math.max(0, found.session.events - turnedDown)
  $('events').textContent = many === 1 ? '1 click' : `${many} clicks`
  $('stages').replaceChildren(...stageRows(found.timings_us))
  return fresh
}

function showClicks() {
  $('clicks-empty').hidden = clicks.length > 0
  $('clicks').replaceChildren(...clicks.map(({ type, itemId }) =>
    make('li', { class: type }, look(itemOf(itemId)), make('span', { class: 'visually-hidden' }, `${type}: ${titleOf(itemId)}`))))
}

async function showCategory(wanted) {
  category = wanted
  for (const chip of $('categories').children) chip.setAttribute('aria-pressed', String(chip.value === category))
  const query = new URLSearchParams({ limit: '60' })
  if (category !== ANY) query.set('category', category)
  try {
    const found = await call('GET', `/api/items?${query}`)
    for (const item of found.items) items.set(item.item_id, item)
    $('grid').replaceChildren(...found.items.map((item) => gridCard(item, isHidden(item.item_id), acts)))
    $('grid').setAttribute('aria-busy', 'false')
  } catch (error) {
    failed(error)
  }
}

async function showCategories() {
  const found = await call('GET', '/api/items?limit=200')
  const tops = [...new Set(found.items.map((item) => (item.category || '').split('/')[0]).filter(Boolean))].sort()
  $('categories').replaceChildren(...[ANY, ...tops].map((top) =>
    button(top.replaceAll('-', ' ') || 'everything', () => showCategory(top), { value: top })))
}

// What the editor knows of the visitor whose session it previews.
const visitor = () => ({ ...who(), looked, clicks: clicks.length, exclude: excluded() })

async function openEditor() {
  const { editScenarios } = await import('./editor.js')
  await editScenarios({ visitor, changed: refresh })
}

$('new-visitor').onclick = async () => {
  await newVisitor()
  say('A new visitor: nothing is known, so the list shows what is trending.')
}
$('open-editor').onclick = () => openEditor().catch(failed)
$('sign-in').onsubmit = (event) => {
  event.preventDefault()
  signInAs($('user').value)
}
$('sign-out').onclick = () => signInAs('')
$('strip').onclick = () => scrollTo({ top: 0 })
for (const panel of document.querySelectorAll('main details')) panel.open = matchMedia('(min-width: 1080px)').matches

nextclick('init', { key: key ?? '' })
await call('GET', '/demo/settings.json').then(({ currency }) => setCurrency(currency)).catch(failed)
followList($('recommendations'))
await Promise.all([showCategories().catch(failed), newVisitor()])
await showCategory(ANY)
