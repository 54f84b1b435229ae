// The frame of every page of the console: which page is open, the key, requests, and what is told.

import { $, make } from './elements.js'

const KEPT = 'console-key' // in sessionStorage: of this tab, gone with it
const PATIENCE = 6 // times that a request is sent again while the gateway says 503

export class Refused extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `answer ${status}`)
    this.status = status
    this.errors = document.errors ?? [] // [{pointer, detail}] of a 422
  }
}

// ── the key ──────────────────────────────────────────────────────────────────────────────────────────────────────

// A page may be opened as /console#key=ncs_...: what stands behind # is sent to nobody.
function takeKeyOfAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('key')
  if (!given) return
  sessionStorage.setItem(KEPT, given)
  history.replaceState(null, '', location.pathname + location.search)
}

const showKey = () => ($('forget-key').hidden = !sessionStorage.getItem(KEPT))
let asking = null // one question, however many requests wait for its answer

function askKey(why) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = $('key-dialog')
    const onTop = document.querySelector('dialog[open]') // a confirmation stays under it
    $('key-why').textContent = why
    $('key-text').value = ''
    let given = false
    $('key-form').onsubmit = (event) => {
      event.preventDefault()
      sessionStorage.setItem(KEPT, $('key-text').value.trim())
      given = true
      dialog.close()
    }
    $('key-cancel').onclick = () => dialog.close()
    dialog.onclose = () => {
      asking = null
      showKey()
      onTop?.focus()
      if (given) resolve()
      else reject(new Error('Without a key this gateway shows nothing.'))
    }
    dialog.showModal()
  })
  return asking
}

// ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

// Returns the answer's document. Throws Refused. Asks for a key where one is missing, and waits where 503 says so.
export async function call(method, path, body) {
  for (let turn = 1; ; turn++) {
    const key = sessionStorage.getItem(KEPT)
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
    if (key) headers.Authorization = `Bearer ${key}`
    const sent = body === undefined ? undefined : JSON.stringify(body)
    const response = await fetch(path, { method, headers, body: sent })
    const document = await response.json().catch(() => ({})) // a proxy's page is none
    if (response.ok) return document
    if ([401, 403].includes(response.status) && response.headers.has('WWW-Authenticate')) {
      if (key === sessionStorage.getItem(KEPT)) await askKey(document.detail)
    } else if (method === 'GET' && response.status === 503 && turn < PATIENCE) {
      await new Promise((done) => setTimeout(done, 1000 * Number(response.headers.get('Retry-After') ?? 1)))
    } else throw new Refused(response.status, document)
  }
}

// The answer's document, or null where there is none for this key: asks for nothing, tells of nothing.
export async function quietly(path) {
  const key = sessionStorage.getItem(KEPT)
  try {
    const response = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {} })
    return response.ok ? await response.json() : null
  } catch {
    return null
  }
}

// ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────

export function tell(text, problem = false) {
  $('told').hidden = !text
  $('told').textContent = text
  $('told').className = problem ? 'told problem' : 'told'
}

// A notice in the page: a state that somebody has to do something about.
export const notice = (title, ...children) => make('section', { class: 'card notice' }, make('h2', {}, title), ...children)

// Runs what a page does, and tells of what goes wrong with it.
export async function doing(act) {
  $('main').setAttribute('aria-busy', 'true')
  try {
    return await act()
  } catch (error) {
    tell(error.message, true)
  } finally {
    $('main').setAttribute('aria-busy', 'false')
  }
}

// Repeats an act while the page is looked at. An act that fails is told of, and repeated.
export function every(ms, act) {
  const again = async () => {
    if (!document.hidden) await act().catch((error) => tell(error.message, true))
    setTimeout(again, ms)
  }
  setTimeout(again, ms)
}

// ── a question before something is done ──────────────────────────────────────────────────────────────────────────

// Opens a dialog with a form. `act` gets the dialog's fields; the dialog stays open, with the reason, where it fails.
export function confirming({ title, text, fields = [], label, danger = false, act }) {
  const problem = make('p', { class: 'wrong', role: 'alert' })
  const submit = make('button', { type: 'submit', class: danger ? 'main danger' : 'main' }, label)
  const cancel = make('button', { type: 'button' }, 'Cancel')
  const form = make('form', {}, make('h2', { id: 'asked' }, title), make('p', {}, text), fields, problem, make('div', { class: 'acts' }, submit, cancel))
  const dialog = make('dialog', { 'aria-labelledby': 'asked' }, form)
  cancel.onclick = () => dialog.close()
  dialog.onclose = () => dialog.remove()
  form.onsubmit = async (event) => {
    event.preventDefault()
    submit.disabled = true
    try {
      await act()
      dialog.close()
    } catch (error) {
      problem.textContent = error.message
      submit.disabled = false
    }
  }
  document.body.append(dialog)
  dialog.showModal()
}

takeKeyOfAddress()
showKey()
$('forget-key').onclick = () => {
  sessionStorage.removeItem(KEPT)
  location.reload()
}

// ── the pages: in a row, or behind a button where there is no room for one ───────────────────────────────────────

function openMenu(open) {
  $('menu').setAttribute('aria-expanded', String(open))
  $('pages').classList.toggle('open', open)
}

for (const link of document.querySelectorAll('nav a')) {
  if (new URL(link.href).pathname === location.pathname) link.setAttribute('aria-current', 'page')
}
$('menu').onclick = () => openMenu($('menu').getAttribute('aria-expanded') === 'false')
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || $('menu').getAttribute('aria-expanded') === 'false') return
  openMenu(false)
  $('menu').focus()
})
document.addEventListener('click', (event) => event.target.closest('.top') || openMenu(false))
