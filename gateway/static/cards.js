// Cards of items, and how a list of them moves when it changes.

import { button, look, make, price } from './elements.js'

const calm = matchMedia('(prefers-reduced-motion: reduce)')
const leaf = (item) => (item.category || '').split('/').pop().replaceAll('-', ' ').replaceAll('_', ' ')

// `acts` is what can be done with an item: {view, cart, hide, sellOut}.
export function railCard(item, one, fresh, requestId, acts) {
  const marks = [make('span', { class: 'rank' }, String(one.position)), ...(fresh ? [make('span', { class: 'tag' }, 'new')] : [])]
  const sold = button('Stock → 0', () => acts.sellOut(item.item_id), { 'data-act': 'sold', class: 'quiet-button', 'aria-label': `Set the stock of ${item.title} to 0` })
  const card = cardOf(item, marks, one.reason, requestId, acts, sold)
  card.classList.toggle('fresh', fresh)
  return card
}

export function gridCard(item, hidden, acts) {
  const card = cardOf(item, [], leaf(item), undefined, acts)
  card.classList.toggle('sold-out', item.stock === 0)
  card.classList.toggle('hidden-item', hidden)
  return card
}

function cardOf(item, marks, reason, requestId, acts, ...more) {
  const seen = make('button', { type: 'button', class: 'look', 'data-act': 'view' },
    make('span', { class: 'frame' }, look(item), ...marks),
    make('span', { class: 'title' }, item.title),
    make('span', { class: 'price' }, price(item)),
    make('span', { class: 'reason' }, reason))
  seen.onclick = () => acts.view(item.item_id, requestId)
  const cart = button('Add to cart', () => acts.cart(item.item_id, requestId), { 'data-act': 'cart', 'aria-label': `Add ${item.title} to cart` })
  const hide = button('Hide', () => acts.hide(item.item_id, requestId), { 'data-act': 'hide', class: 'quiet-button', title: 'Do not show me this', 'aria-label': `Do not show me ${item.title}` })
  return make('li', { class: 'card', 'data-item': item.item_id }, seen, make('div', { class: 'acts' }, cart, ...more, hide))
}

// Put a list's new cards in the place of the old ones: what stays moves, what is new comes in, the focus stays.
export function replaceCards(rail, cards) {
  const before = new Map([...rail.children].map((card) => [card.dataset.item, card.getBoundingClientRect()]))
  const focused = rail.contains(document.activeElement) ? focusOf(document.activeElement) : null
  rail.replaceChildren(...cards)
  if (focused) restoreFocus(rail, focused)
  if (!calm.matches) move(rail, before)
}

function focusOf(pressed) {
  return { item: pressed.closest('[data-item]')?.dataset.item, act: pressed.dataset.act }
}

function restoreFocus(rail, { item, act }) {
  const card = rail.querySelector(`[data-item="${CSS.escape(item ?? '')}"]`) ?? rail.firstElementChild
  card?.querySelector(`[data-act="${act}"]`)?.focus({ preventScroll: true })
}

function move(rail, before) {
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

// ── where the gateway's time went ────────────────────────────────────────────────────────────────────────────────

export function stageRows(timings) {
  const stages = Object.entries(timings).filter(([name]) => name !== 'total')
  const most = Math.max(1, ...stages.map(([, us]) => us))
  const rows = stages.map(([name, us]) => {
    const bar = make('span', { class: 'share' })
    bar.style.setProperty('--share', us / most)
    return stageRow({}, name.replaceAll('_', ' '), bar, us)
  })
  return [...rows, stageRow({ class: 'total' }, 'total', '', timings.total ?? 0)]
}

function stageRow(attributes, name, bar, us) {
  return make('div', attributes, make('dt', {}, name), make('dd', {}, bar, make('span', { class: 'us' }, ms(us))))
}

const ms = (us) => (us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(2)} ms`)
