// Answers that are tried: a scenario's list for a session, with why. Nothing of it is logged as shown.

import { make } from './elements.js'
import { call } from './frame.js'
import { droppedRows, rankRows } from './explained.js'
import { ruleWords } from './words.js'

export const FIELDS = ['title', 'category']
export const itemUrl = (item) => `/console/catalogue?${new URLSearchParams({ item })}`
export const sessionUrl = (id) => `/console/session?${new URLSearchParams({ id })}`

// A link to an item's page.
export const itemLink = (id, title) => make('a', { href: itemUrl(id) }, title ?? id)

// What is asked of a scenario. `who` is {session_id, user_id?, looked?}: `looked` is the item of a product page.
export function requestOf(name, scenario, who, asked = {}) {
  const { looked, ...visitor } = who
  const page = looked && [name, scenario.base].includes('product') ? { item_id: looked } : {}
  return { ...visitor, ...page, ...asked }
}

// `forget` are clicks left out.
export function preview(name, scenario, who, asked = {}, forget = []) {
  const request = requestOf(name, scenario, who, { explain: true, fields: FIELDS, ...asked })
  return call('POST', `/api/scenarios/${encodeURIComponent(name)}/preview`, { scenario, request, ...(forget.length ? { forget } : {}) })
}

const capital = (text) => text[0].toUpperCase() + text.slice(1)
export const placesOf = (answer) => new Map(answer.recommendations.map((one) => [one.item_id, one.position]))

// A titled list of an answer. `before` is the answer that it is compared with, or null.
export function ranking(title, answer, before, attributes = {}) {
  const rows = rankRows(answer, before === null ? null : placesOf(before), { folded: true, name: (item) => itemLink(item.item_id, item.title) })
  const none = make('p', { class: 'quiet' }, 'Nothing: every candidate was dropped, or the catalogue is empty.')
  return make('section', { class: 'stack list', ...attributes }, make('h3', {}, title), rows.length ? make('ol', { class: 'ranks' }, rows) : none)
}

// What an answer goes by and lacks, in one line.
export function aboutAnswer(answer) {
  const lacks = answer.degraded.length ? ` Without: ${answer.degraded.map((what) => what.replaceAll('_', ' ')).join(', ')}.` : ''
  const by = answer.cold_start ? `It goes by: ${answer.cold_start.replaceAll('_', ' ')}.` : 'Nothing was ranked.'
  return make('p', { class: 'quiet' }, `${by} ${answer.session.events} click${answer.session.events === 1 ? '' : 's'} counted, ${(answer.timings_us.total / 1000).toFixed(1)} ms.${lacks}`)
}

// Which rules dropped candidates, how many, and which they were.
export function droppedPart(answer) {
  if (!Object.keys(answer.dropped).length) return null
  const named = Object.entries(answer.dropped_items ?? {}).map(([rule, items]) =>
    make('p', { class: 'quiet' }, `${capital(ruleWords(rule))}: `, items.slice(0, 12).flatMap((item, at) => [at ? ', ' : '', itemLink(item)]), items.length > 12 ? ', …' : ''))
  return make('details', { class: 'dropped-part' }, make('summary', {}, 'Dropped candidates'), make('dl', { class: 'dropped' }, droppedRows(answer.dropped)), named)
}
