// A list with what its items' places are made of: terms of the value, boosts, pins, and what was dropped.

import { make } from './elements.js'

const short = (number) => Number(number.toFixed(3)).toString()

// `before` has the places of the list that this one is compared with: item_id -> position; null compares with none.
// `folded`: an item's terms are opened one by one. `look` makes an item's picture, `name` what stands for its title; without them a row has none, and the title as text.
export function rankRows(found, before, { look = null, name = (item) => item.title, folded = false } = {}) {
  const told = new Map((found.explained ?? []).map((one) => [one.item_id, one]))
  return found.recommendations.map((one) => {
    const item = itemOf(one)
    const why = told.get(one.item_id) ?? {}
    const head = make('div', { class: 'rank-head' },
      make('span', { class: 'place' }, String(one.position)), ...(look ? [make('span', { class: 'thumb' }, look(item))] : []),
      make('span', { class: 'title' }, name(item)), ...moved(one, before))
    return make('li', { 'data-item': one.item_id }, head, ...marks(why, one), ...(folded ? fold(why) : terms(why)))
  })
}

function itemOf({ item_id, item = {} }) {
  return { item_id, title: item.title ?? item_id, category: item.category ?? '', image_url: item.image_url, attributes: { colour: item['attributes.colour'] } }
}

function moved(one, before) {
  if (before === null) return []
  const was = before.get(one.item_id)
  if (was === undefined) return [make('span', { class: 'moved new' }, 'new')]
  const by = was - one.position
  if (!by) return []
  const words = `${Math.abs(by)} ${by > 0 ? 'up' : 'down'}`
  return [make('span', { class: by > 0 ? 'moved up' : 'moved' }, by > 0 ? '▲ ' : '▼ ', words)]
}

function marks(why, one) {
  const boosts = (why.boosts ?? []).map((boost) =>
    make('span', { class: 'mark boost', title: boost.if }, `× ${short(boost.multiply)} ${boost.why ?? boost.if}`))
  const pinned = why.pinned ? [make('span', { class: 'mark' }, 'pinned')] : []
  const filled = why.filled_up ? [make('span', { class: 'mark' }, 'filled up')] : []
  return [make('p', { class: 'reason' }, ...pinned, ...filled, ...boosts, reasonOf(why, one))]
}

// The reason without what the boosts' marks say already.
function reasonOf(why, one) {
  const said = (why.boosts ?? []).find((boost) => boost.why && one.reason.startsWith(`${boost.why}; `))
  return said ? one.reason.slice(said.why.length + 2) : one.reason
}

function terms(why) {
  if (!why.terms) return []
  const rows = Object.entries(why.terms).map(([name, { value, weight }]) => {
    const bar = make('span', { class: 'share' })
    bar.style.setProperty('--share', Math.min(1, Math.abs(value * weight)))
    const sum = value === undefined ? `× ${short(weight)}` : `${short(value)} × ${short(weight)}`
    return make('div', {}, make('dt', {}, name), make('dd', {}, bar, make('span', { class: 'us' }, sum)))
  })
  const total = make('div', { class: 'total' }, make('dt', {}, 'value'), make('dd', {}, short(why.value)))
  return [make('dl', { class: 'stages' }, ...rows, total)]
}

// The terms behind a line that says what they come to.
function fold(why) {
  if (!why.terms) return []
  return [make('details', { class: 'worth' }, make('summary', {}, `value ${short(why.value)}`), ...terms(why))]
}

export function droppedRows(dropped) {
  const most = Object.entries(dropped).sort((one, other) => other[1] - one[1])
  return most.map(([clause, count]) => make('div', {}, make('dt', {}, clause.replaceAll('_', ' ')), make('dd', {}, String(count))))
}
