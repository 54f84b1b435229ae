// What a scenario's document may hold: a few fields as examples, each to be put into the draft.

import { button, make } from './elements.js'
import { inWords } from './words.js'

const EXAMPLES = [
  { filter: 'price < 50 and stock > 0' },
  { boosts: [{ if: 'price < 20', multiply: 1.5 }] },
  { pins: [{ item_id: 'AN-ITEM-ID', position: 1 }] },
  { bury: ['AN-ITEM-ID'] },
  { value: { match: 1, margin: 0.1 } },
  { limits: [{ field: 'brand', most: 2 }] },
  { diversity: 0.3 },
  { new_share: 0.1 },
  { seen: 'all' },
  { fatigue: { shown: 5, within: 'P1D' } },
]

// `put` is given the field of the example that was chosen, as an object.
export const examples = (put) => make('details', { id: 'examples' }, make('summary', {}, 'What a document may hold'),
  make('p', { class: 'quiet' }, 'Some fields, each as an example; every one may be left out. docs/scenarios.md has them all, and what filters can ask.'),
  make('ul', { class: 'rows' }, EXAMPLES.map((one) => {
    const [field] = Object.keys(one)
    return make('li', { class: 'line' }, make('span', {}, make('code', {}, JSON.stringify(one).slice(1, -1)), make('small', { class: 'quiet' }, ` ${inWords(one)[0]}`)),
      button('Insert', () => put(one), { 'data-example': field, 'aria-label': `Insert ${field}` }))
  })))
