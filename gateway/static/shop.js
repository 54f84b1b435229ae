// The demo shop: every click is an event, every event asks for a new list, and the page shows what that changed.

import { picture } from './pictures.js'

const SHOWN = 8
const ANY = ''
const $ = (id) => document.getElementById(id)
const calm = matchMedia('(prefers-reduced-motion: reduce)')
const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' })

const items = new Map() // item_id -> item
let session = ''
let clicks = []
let answer = null
let turn = 0 // the newest question wins

// Where the gateway asks for API keys, this page is opened as /#key=ncs_...: what stands behind # is sent to nobody.
function apiKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get('key')
  if (given) {
    sessionStorage.setItem('key', given)
    history.replaceState(null, '', location.pathname + location.search)
  }
  return sessionStorage.getItem('key')
}

const key = apiKey()

async function call(method, path, body) {
  const options = { method, headers: body === undefined ? {} : { 'Content-Type': 'application/json' } }
  if (key) options.headers.Authorization = `Bearer ${key}`
  if (body !== undefined) options.body = JSON.stringify(body)
  const response = await fetch(path, options)
  const document = await response.json()
  if (response.status === 401) {
    sessionStorage.removeItem('key')
    throw new Error(`${document.detail}. Open this page as /#key=... with a key of scopes events, recommend and catalogue.`)
  }
  if (!response.ok) throw new Error(document.detail || document.title || `answer ${response.status}`)
  return document
}

function randomId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(8))
  return prefix + Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

let fading = 0

function say(text, isProblem = false) {
  clearTimeout(fading)
  fading = setTimeout(() => ($('status').textContent = ''), isProblem ? 15_000 : 6_000)
  $('status').textContent = text
  $('status').classList.toggle('problem', isProblem)
}

// Titles, ids and reasons are anybody's text. They are put into the page as text, and nothing makes markup of a text.
function make(name, attributes, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

const leaf = (item) => (item.category || '').split('/').pop().replaceAll('-', ' ').replaceAll('_', ' ')

// ── a click ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function click(type, itemId, requestId) {
  const began = performance.now()
  const mine = ++turn
  const event = { v: 1, event_id: randomId('e-'), type, session_id: session, item_id: itemId, ts: Date.now() }
  if (requestId) event.request_id = requestId
  clicks = [{ type, itemId }, ...clicks].slice(0, 50)
  showClicks()
  try {
    const taken = await call('POST', '/api/events', event)
    if (taken.rejected.length) throw new Error(taken.rejected[0].reason)
    const sent = performance.now()
    let found = await ask({ after: taken.token, item_id: itemId })
    for (let again = 0; found.stale && again < 5; again++) found = await ask({ after: taken.token, item_id: itemId })
    if (mine !== turn) return
    const fresh = await show(found)
    const done = performance.now()
    $('latency').textContent = (done - began).toFixed(done - began < 20 ? 1 : 0)
    $('latency-parts').textContent =
      `${(sent - began).toFixed(1)} ms until the click was safe in the log, ` +
      `${(done - sent).toFixed(1)} ms for the new list` + (found.stale ? ' (the click was not applied in time)' : '')
    const verb = type === 'cart' ? 'In your cart' : 'You looked at'
    const news = fresh ? `${fresh} new in the list` : 'the same list'
    say(`${verb}: ${items.get(itemId)?.title ?? itemId}. ${news}, ${Math.round(done - began)} ms after the click.`)
    comeIntoView()
  } catch (error) {
    say(error.message, true)
  }
}

// A click far down the page would change a list that nobody sees.
function comeIntoView() {
  const { bottom } = $('recommendations').getBoundingClientRect()
  if (bottom < 120) scrollTo({ top: 0, behavior: calm.matches ? 'auto' : 'smooth' })
}

async function ask(more = {}) {
  const placement = more.item_id ? 'product' : 'homepage'
  return call('POST', `/api/recommendations/${placement}`, { session_id: session, limit: SHOWN, ...more })
}

async function refresh() {
  const mine = ++turn
  try {
    const found = await ask()
    if (mine === turn) await show(found)
  } catch (error) {
    say(error.message, true)
  }
}

async function sellOut(itemId) {
  const title = items.get(itemId)?.title ?? itemId
  try {
    const written = await call('POST', '/api/stock', [{ item_id: itemId, stock: 0 }])
    if (written.rejected.length) throw new Error(written.rejected[0].reason)
    items.set(itemId, { ...items.get(itemId), stock: 0 })
    const card = document.querySelector(`#grid [data-item="${CSS.escape(itemId)}"]`)
    card?.classList.add('sold-out')
    await refresh()
    say(`${title}: stock is 0. ` + (written.visible ? 'No list holds it any more.' : 'It will leave the list in a moment.'))
  } catch (error) {
    say(error.message, true)
  }
}

function newVisitor() {
  session = randomId('visitor-')
  clicks = []
  $('visitor').textContent = session.slice(0, 15)
  $('visitor').title = session
  $('latency').textContent = '–'
  $('latency-parts').textContent = 'Measured in this browser, at your next click.'
  showClicks()
  say('A new visitor: nothing is known, so the list shows what is trending.')
  return refresh()
}

// ── what the page shows ──────────────────────────────────────────────────────────────────────────────────────────

async function learn(ids) {
  const unknown = ids.filter((id) => !items.has(id))
  if (!unknown.length) return
  const query = new URLSearchParams([...unknown.map((id) => ['id', id]), ['limit', String(unknown.length)]])
  const found = await call('GET', `/api/items?${query}`)
  for (const item of found.items) items.set(item.item_id, item)
}

async function show(found) {
  await learn(found.recommendations.map((one) => one.product_id))
  const known = new Set(answer?.recommendations.map((one) => one.product_id))
  const rail = $('recommendations')
  const before = new Map([...rail.children].map((card) => [card.dataset.item, card.getBoundingClientRect()]))
  const isFresh = (one) => answer !== null && !known.has(one.product_id)
  const focused = rail.contains(document.activeElement) ? focusOf(document.activeElement) : null
  rail.replaceChildren(...found.recommendations.map((one) => railCard(one, isFresh(one), found.request_id)))
  if (focused) restoreFocus(rail, focused)
  move(rail, before)
  const fresh = found.recommendations.filter(isFresh).length
  answer = found
  rail.setAttribute('aria-busy', 'false')
  $('rail-empty').hidden = found.recommendations.length > 0
  $('degraded').hidden = found.degraded.length === 0
  $('degraded').textContent = found.degraded.join(', ').replaceAll('_', ' ')
  $('events').textContent = found.session.events === 1 ? '1 click' : `${found.session.events} clicks`
  showStages(found.timings_us)
  return fresh
}

function focusOf(button) {
  return { item: button.closest('[data-item]')?.dataset.item, act: button.dataset.act }
}

function restoreFocus(rail, { item, act }) {
  const card = rail.querySelector(`[data-item="${CSS.escape(item ?? '')}"]`) ?? rail.firstElementChild
  card?.querySelector(`[data-act="${act}"]`)?.focus({ preventScroll: true })
}

function move(rail, before) {
  if (calm.matches) return
  for (const card of rail.children) {
    const from = before.get(card.dataset.item)
    const to = card.getBoundingClientRect()
    if (from) {
      const [x, y] = [from.left - to.left, from.top - to.top]
      if (x || y) card.animate([{ transform: `translate(${x}px,${y}px)` }, { transform: 'none' }], { duration: 320, easing: 'cubic-bezier(.2,.8,.2,1)' })
    } else if (before.size) {
      card.animate([{ opacity: 0, transform: 'scale(.92)' }, { opacity: 1, transform: 'none' }], { duration: 300, easing: 'ease-out' })
    }
  }
}

function railCard(one, fresh, requestId) {
  const item = items.get(one.product_id) ?? { item_id: one.product_id, title: one.product_id, category: '' }
  const marks = [make('span', { class: 'rank' }, String(one.position)), ...(fresh ? [make('span', { class: 'tag' }, 'new')] : [])]
  const sold = make('button', { 'data-act': 'sold', class: 'quiet-button', 'aria-label': `Set the stock of ${item.title} to 0` }, 'Stock → 0')
  sold.onclick = () => sellOut(item.item_id)
  const card = cardOf(item, marks, one.reason, requestId, sold)
  card.classList.toggle('fresh', fresh)
  return card
}

function gridCard(item) {
  const card = cardOf(item, [], leaf(item))
  card.classList.toggle('sold-out', item.stock === 0)
  return card
}

function cardOf(item, marks, reason, requestId, ...acts) {
  const look = make('button', { class: 'look', 'data-act': 'view' },
    make('span', { class: 'frame' }, picture(item), ...marks),
    make('span', { class: 'title' }, item.title),
    make('span', { class: 'price' }, item.price == null ? '' : money.format(item.price)),
    make('span', { class: 'reason' }, reason))
  const cart = make('button', { 'data-act': 'cart', 'aria-label': `Add ${item.title} to cart` }, 'Add to cart')
  look.onclick = () => click('view', item.item_id, requestId)
  cart.onclick = () => click('cart', item.item_id, requestId)
  return make('li', { class: 'card', 'data-item': item.item_id }, look, make('div', { class: 'acts' }, cart, ...acts))
}

function showStages(timings) {
  const stages = Object.entries(timings).filter(([name]) => name !== 'total')
  const most = Math.max(1, ...stages.map(([, us]) => us))
  const rows = stages.map(([name, us]) => {
    const bar = make('span', { class: 'bar' })
    bar.style.setProperty('--share', us / most)
    return stageRow({}, name.replaceAll('_', ' '), bar, us)
  })
  $('stages').replaceChildren(...rows, stageRow({ class: 'total' }, 'total', '', timings.total ?? 0))
}

function stageRow(attributes, name, bar, us) {
  return make('div', attributes, make('dt', {}, name), make('dd', {}, bar, make('span', { class: 'us' }, ms(us))))
}

const ms = (us) => (us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(2)} ms`)

function showClicks() {
  $('clicks-empty').hidden = clicks.length > 0
  $('clicks').replaceChildren(...clicks.map(({ type, itemId }) => {
    const item = items.get(itemId) ?? { item_id: itemId, title: itemId, category: '' }
    return make('li', { class: type }, picture(item), make('span', { class: 'visually-hidden' }, `${type}: ${item.title}`))
  }))
}

async function showCategory(category) {
  for (const chip of $('categories').children) chip.setAttribute('aria-pressed', String(chip.value === category))
  const query = new URLSearchParams({ limit: '60' })
  if (category !== ANY) query.set('category', category)
  try {
    const found = await call('GET', `/api/items?${query}`)
    for (const item of found.items) items.set(item.item_id, item)
    $('grid').replaceChildren(...found.items.map(gridCard))
    $('grid').setAttribute('aria-busy', 'false')
  } catch (error) {
    say(error.message, true)
  }
}

async function showCategories() {
  const found = await call('GET', '/api/items?limit=200')
  const tops = [...new Set(found.items.map((item) => (item.category || '').split('/')[0]).filter(Boolean))].sort()
  $('categories').replaceChildren(...[ANY, ...tops].map((category) => {
    const chip = make('button', { value: category }, category.replaceAll('-', ' ') || 'everything')
    chip.onclick = () => showCategory(category)
    return chip
  }))
}

$('new-visitor').onclick = newVisitor
await Promise.all([showCategories().catch((error) => say(error.message, true)), newVisitor()])
await showCategory(ANY)
