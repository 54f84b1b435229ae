// Why an item is not in the answer that a session gets now, and the changes that would show it: each was applied.

import { make } from './elements.js'
import { call } from './frame.js'

const SHOWN = 6 // changes

// Returns what POST .../why-not says of one item.
export async function whyNot(name, request, itemId) {
  const { items } = await call('POST', `/api/scenarios/${encodeURIComponent(name)}/why-not`, { request, items: [itemId] })
  return items[0]
}

export function whyNotPart({ verdict, says, changes = [] }) {
  const steps = changes.slice(0, SHOWN).map((one) => make('li', {}, one.map((step) => step.says).join(', and ')))
  return make('div', { class: 'stack', 'data-verdict': verdict }, make('p', {}, says),
    steps.length ? make('p', { class: 'quiet' }, 'Each of these would show it:') : null, steps.length ? make('ul', { class: 'words' }, steps) : null)
}
