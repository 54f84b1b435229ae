// Why an item is not in an answer. `ask(asked)` asks the same scenario and session again, for other items.

import { make } from './elements.js'
import { ruleWords } from './words.js'

const LONGEST = 100

// Returns {verdict, says, more: sentences}.
export async function whyNot(itemId, answer, ask) {
  const here = answer.recommendations.find((one) => one.item_id === itemId)
  if (here) return told('shown', `It is in the list, at place ${here.position}: ${here.reason}.`)
  const rule = Object.entries(answer.dropped_items ?? {}).find(([, items]) => items.includes(itemId))?.[0]
  const alone = await ask({ candidates: [itemId], limit: 1 })
  const dropped = Object.keys(alone.dropped)[0] ?? rule
  if (dropped) return told('dropped', `It cannot be shown: ${ruleWords(dropped)}.`, rule ? 'It was a candidate.' : 'It was no candidate either, or stood beyond those that rules name.')
  if (!alone.recommendations.length) return told('unknown', 'The catalogue has no such item.')
  const longer = await ask({ limit: LONGEST })
  const there = longer.recommendations.find((one) => one.item_id === itemId)
  if (there) return told('outranked', `It ranks lower: at place ${there.position} of ${longer.recommendations.length}. No rule drops it.`, `There it says: ${there.reason}.`)
  return told('no_candidate', `No rule drops it, and it is not among the first ${longer.recommendations.length}.`, 'No source proposes it for this session, or others rank higher: a click on it, or on what is viewed with it, brings it nearer.')
}

const told = (verdict, says, ...more) => ({ verdict, says, more })

export function whyNotPart({ verdict, says, more }) {
  return make('div', { class: 'stack', 'data-verdict': verdict }, make('p', {}, says), more.map((text) => make('p', { class: 'quiet' }, text)))
}
