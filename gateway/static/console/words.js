// Rules and scenarios in words.

import { percent } from './numbers.js'

const RULES = {
  out_of_stock: 'it is out of stock',
  other_region: 'it is not sold in the region of the visitor',
  other_category: 'it is not of the category that was asked for',
  too_young: 'the visitor is, or is taken to be, too young for it',
  turned_down: 'the visitor turned it down',
  seen: 'the visitor clicked it already',
  excluded: 'the request leaves it out',
  page_item: 'it is the item of the page',
  do_not_show: 'the user asked never to be shown it',
  filter: 'a filter does not keep it',
}

// Why a rule drops an item. A rule of the site's own has its name alone.
export function ruleWords(rule) {
  if (rule.startsWith('filter: ')) return `the filter does not keep it: ${rule.slice(8)}`
  return RULES[rule] ?? `the rule ${rule.replaceAll('_', ' ')} drops it`
}

// What was decided of an experiment, in a sentence: its report goes on to say "Ship margin: ..." after margin was promoted.
export function decided({ promoted }, decision) {
  if (!promoted || !decision) return promoted ? `${promoted} became the scenario.` : decision
  const said = `Ship ${promoted}: `
  return `${promoted} became the scenario${decision.startsWith(said) ? `: ${decision.slice(said.length)}` : `. The last report said: ${decision}`}`
}

const several = (list, one, many) => (list.length === 1 ? `1 ${one}` : `${list.length} ${many}`)
const TERMS = { match: 'the match', trend: 'the trend', stock: 'stock', margin: 'margin', fresh: 'how new it is', season: 'the season' }

function valueWords(value) {
  if (typeof value === 'string') return `It ranks by the preset ${value}.`
  return `It ranks by ${Object.entries(value).map(([term, weight]) => `${weight} × ${TERMS[term] ?? term}`).join(' + ')}.`
}

function limitWords({ field, share, most }) {
  return `at most ${most ?? percent(share)} of one ${field.replaceAll('_', ' ')}`
}

const PARTS = {
  filter: (text) => `It keeps items where ${text}.`,
  value: valueWords,
  ranker: (name) => `The re-ranker ${name} ranks.`,
  sources: (sizes) => `It asks for candidates: ${Object.entries(sizes).map(([name, many]) => `${name.replaceAll('_', ' ')} ${many}`).join(', ')}.`,
  boosts: (list) => `${several(list, 'boost', 'boosts')}: ${list.slice(0, 3).map((one) => `× ${one.multiply} where ${one.if}`).join('; ')}${list.length > 3 ? '; …' : ''}.`,
  pins: (list) => `${several(list, 'item is', 'items are')} pinned.`,
  bury: (list) => `${several(list, 'item is', 'items are')} buried at the end.`,
  limits: (list) => (list.length ? `A page has ${list.map(limitWords).join(', ')}.` : 'No category is limited.'),
  diversity: (share) => (share ? `It mixes what is alike: diversity ${share}.` : null),
  new_share: (share) => `${percent(share)} of a page is for new items.`,
  small_supplier_share: (share) => `${percent(share)} of a page is for suppliers that are shown little.`,
  popularity_debias: (share) => (share ? `Popularity counts less: ${share}.` : null),
  explore: (share) => (share ? `${percent(share)} of a page is tried at random.` : null),
  seen: (word) => ({ all: 'It leaves out all that was seen.', taken: 'It leaves out what was put in the cart or bought.', none: 'It shows again what was seen.' })[word],
  fatigue: ({ shown, within }) => `What was shown ${shown} times within ${within} goes to the end.`,
  fallback: (list) => `A short page is filled from what is ${list.join(', then ')}.`,
}

const PLACEMENTS = {
  homepage: 'No interest of the session takes more than half of a page. What was seen is left out.',
  product: 'The item of the page leads: what is like it, and what goes with it.',
  cart: 'The whole cart leads: what sessions took together with it.',
  search: 'It ranks what a request brings, and the order of that counts.',
  email: 'For a visitor who is away. What was put in the cart or bought is left out.',
  push: 'As email: for a visitor who is away.',
}

// What a document does, a sentence a field that it has. `placement`: the name that it is published under, if it is one.
export function inWords(scenario, placement = '') {
  const told = Object.entries(PARTS).filter(([name]) => scenario[name] !== undefined && scenario[name] !== null)
    .map(([name, words]) => words(scenario[name])).filter(Boolean)
  if (scenario.base) told.unshift(`It stands on ${scenario.base}.`)
  if (Object.hasOwn(PLACEMENTS, placement)) told.unshift(PLACEMENTS[placement])
  return told.length ? told : ['It is as the homepage is: it says nothing of its own.']
}
