// Making elements. Titles, ids and reasons are anybody's text: they are put into the page as text, and nothing makes
// markup of a text.

import { picture } from './pictures.js'

export const $ = (id) => document.getElementById(id)

export function make(name, attributes, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

export function button(label, act, attributes = {}) {
  const made = make('button', { type: 'button', ...attributes }, label)
  made.onclick = act
  return made
}

// ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────

const failed = new Set() // addresses of pictures that could not be loaded

// The address of an item's own picture: absolute, http or https. Null for whatever else stands there.
export function pictureUrl(item) {
  try {
    const url = new URL(item.image_url)
    return /^https?:$/.test(url.protocol) && !failed.has(url.href) ? url.href : null
  } catch {
    return null
  }
}

// An item's own picture; the drawn one where it has none, or where it cannot be loaded.
export function look(item) {
  const url = pictureUrl(item)
  if (url === null) return picture(item)
  const shown = make('img', { class: 'picture', alt: item.title, width: 300, height: 200, loading: 'lazy', decoding: 'async', referrerpolicy: 'no-referrer' })
  shown.onerror = () => {
    failed.add(url)
    shown.replaceWith(picture(item))
  }
  shown.src = url
  return shown
}

// ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

const CODE = /^[A-Za-z]{3}$/
const formats = new Map()
let usual = 'EUR'

export function setCurrency(code) {
  if (CODE.test(code)) usual = code
}

// An item's price in its own currency (attributes.currency), else in the gateway's; empty where it has none.
export function price(item) {
  if (typeof item.price !== 'number') return ''
  const own = item.attributes?.currency
  const code = (typeof own === 'string' && CODE.test(own) ? own : usual).toUpperCase()
  if (!formats.has(code)) formats.set(code, new Intl.NumberFormat(undefined, { style: 'currency', currency: code }))
  return formats.get(code).format(item.price)
}
