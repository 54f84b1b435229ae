// Why an item is not in an answer. `ask(asked)` asks the same scenario and session again, for other items.

import { ruleWords } from './words.js'

const LONGEST = 100

// Returns sentences, the reason first.
export async function whyNot(itemId, answer, ask) {
  const here = answer.recommendations.find((one) => one.item_id === itemId)
  if (here) return [`It is in the list, at place ${here.position}: ${here.reason}.`]
  const rule = Object.entries(answer.dropped_items ?? {}).find(([, items]) => items.includes(itemId))?.[0]
  const alone = await ask({ candidates: [itemId], limit: 1 })
  const dropped = Object.keys(alone.dropped)[0] ?? rule
  if (dropped) return [`It cannot be shown: ${ruleWords(dropped)}.`, rule ? 'It was a candidate.' : 'It was no candidate either, or stood beyond those that rules name.']
  if (!alone.recommendations.length) return ['The catalogue has no such item.']
  const longer = await ask({ limit: LONGEST })
  const there = longer.recommendations.find((one) => one.item_id === itemId)
  if (there) return [`It ranks lower: at place ${there.position} of ${longer.recommendations.length}. No rule drops it.`, `There it says: ${there.reason}.`]
  return [`No rule drops it, and it is not among the first ${longer.recommendations.length}.`, 'No source proposes it for this session, or others rank higher: a click on it, or on what is viewed with it, brings it nearer.']
}
