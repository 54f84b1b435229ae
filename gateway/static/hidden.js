// "Do not show me this": what this visitor hid, in the session, and for good where somebody is signed in.

import { call } from './api.js'
import { $, button, look, make } from './elements.js'

const MOST = 1000 // of `exclude` in a request

let inSession = new Set() // item ids that were hidden in this session, whoever was signed in
let ofUser = new Set() // item ids that are hidden for the user who is signed in
let user = sessionStorage.getItem('user') ?? ''

export const userId = () => user
export const isHidden = (itemId) => inSession.has(itemId) || ofUser.has(itemId)
const hidden = () => [...new Set([...ofUser, ...inSession])]
export const excluded = () => hidden().slice(-MOST)

export async function signIn(name) {
  user = name.trim()
  if (user) sessionStorage.setItem('user', user)
  else sessionStorage.removeItem('user')
  return learnUser()
}

// Begin a new session: what was hidden in the one before no longer counts.
export async function forget() {
  inSession = new Set()
  return learnUser()
}

// Ask what the gateway knows of the user: nothing where it keeps no users, or nobody is signed in.
async function learnUser() {
  ofUser = new Set()
  if (!user) return
  const asked = user
  const found = await askUser('GET', '')
  if (asked === user) ofUser = new Set(found?.do_not_show?.items ?? [])
}

// Returns for whom it is hidden, in words.
export async function hide(itemId) {
  const kept = user ? (await askUser('POST', '/do-not-show', { item_id: itemId })) !== null : false
  inSession.add(itemId)
  if (kept) ofUser.add(itemId)
  if (kept) return `for ${user}, on every device`
  return user ? 'in this session (this gateway keeps no users)' : 'in this session'
}

export async function unhide(itemId) {
  if (ofUser.has(itemId)) await askUser('DELETE', '/do-not-show', { item_id: itemId })
  inSession.delete(itemId)
  ofUser.delete(itemId)
}

// Null where the gateway has no such address, or knows nothing of the user.
async function askUser(method, path, body) {
  try {
    return await call(method, `/api/users/${encodeURIComponent(user)}${path}`, body)
  } catch (error) {
    if (error.status === 404 || (method === 'GET' && error.status === 403)) return null
    throw error
  }
}

export function showHidden(items, showAgain) {
  const ids = hidden().reverse()
  $('you-summary').textContent = `${user ? `signed in as ${user}` : 'not signed in'} · ${ids.length} hidden`
  $('user').value = user
  $('sign-out').hidden = !user
  $('hidden-empty').hidden = ids.length > 0
  $('hidden').replaceChildren(...ids.map((itemId) => {
    const item = items.get(itemId) ?? { item_id: itemId, title: itemId, category: '' }
    const back = button('Show again', () => showAgain(itemId), { 'aria-label': `Show ${item.title} again` })
    return make('li', { 'data-item': itemId }, look(item), make('span', { class: 'title' }, item.title), back)
  }))
}
