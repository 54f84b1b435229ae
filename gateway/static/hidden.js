// "Do not show me this": what this visitor hid, in the session, and for good where somebody is signed in.

import { call } from './api.js'
import { $, button, look, make } from './elements.js'

const MOST = 1000 // of `exclude` in a request

const hidden = new Map() // item_id -> whether it is hidden for the user as well
let user = sessionStorage.getItem('user') ?? ''

export const userId = () => user
export const isHidden = (itemId) => hidden.has(itemId)
export const excluded = () => [...hidden.keys()].slice(-MOST)

export async function signIn(name) {
  user = name.trim()
  if (user) sessionStorage.setItem('user', user)
  else sessionStorage.removeItem('user')
  return forget()
}

// Begin anew with what the gateway knows of the user: nothing where it keeps no users, or nobody is signed in.
export async function forget() {
  hidden.clear()
  if (!user) return
  const asked = user
  const found = await ofUser('GET', '')
  if (asked === user) for (const itemId of found?.do_not_show?.items ?? []) hidden.set(itemId, true)
}

// Returns for whom it is hidden, in words.
export async function hide(itemId) {
  const kept = user ? (await ofUser('POST', '/do-not-show', { item_id: itemId })) !== null : false
  hidden.set(itemId, kept)
  if (kept) return `for ${user}, on every device`
  return user ? 'in this session (this gateway keeps no users)' : 'in this session'
}

export async function unhide(itemId) {
  if (hidden.get(itemId)) await ofUser('DELETE', '/do-not-show', { item_id: itemId })
  hidden.delete(itemId)
}

// Null where the gateway has no such address, or knows nothing of the user.
async function ofUser(method, path, body) {
  try {
    return await call(method, `/api/users/${encodeURIComponent(user)}${path}`, body)
  } catch (error) {
    if (error.status === 404 || (method === 'GET' && error.status === 403)) return null
    throw error
  }
}

export function showHidden(items, showAgain) {
  const ids = [...hidden.keys()].reverse()
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
