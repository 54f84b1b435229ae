// Tables: a caption, columns of text or numbers, rows that can be sorted by a column; and the same as CSV.

import { button, make } from './elements.js'

// A column is {label, cell(row), value?(row), number?}. `cell` returns a text or an element, `value` what it sorts by.
export function table({ caption, columns, rows, sorted = null }) {
  const body = make('tbody')
  const heads = columns.map((column) => make('th', { scope: 'col', class: column.number ? 'number' : null }))
  let by = sorted // {at, down}
  const fill = () => {
    const order = by === null ? rows : [...rows].sort(comparing(columns[by.at].value, by.down))
    body.replaceChildren(...order.map((row) => line(columns, row)))
    heads.forEach((head, at) => head.setAttribute('aria-sort', by?.at !== at ? 'none' : by.down ? 'descending' : 'ascending'))
  }
  heads.forEach((head, at) => {
    const { label, value } = columns[at]
    if (!value) return head.append(label)
    head.append(button(label, () => {
      by = { at, down: by?.at === at ? !by.down : Boolean(columns[at].number) }
      fill()
    }))
  })
  fill()
  const made = make('table', {}, make('caption', { class: 'visually-hidden' }, caption), make('thead', {}, make('tr', {}, heads)), body)
  return make('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, made)
}

function line(columns, row) {
  return make('tr', { class: row.quiet ? 'quiet' : null }, columns.map((column, at) =>
    make(at ? 'td' : 'th', { scope: at ? null : 'row', class: column.number ? 'number' : null }, column.cell(row))))
}

function comparing(value, down) {
  const sign = down ? -1 : 1
  return (one, other) => {
    const [a, b] = [value(one), value(other)]
    if (a === b) return 0
    if (a === null || a === undefined) return 1 // what is not known goes last, whichever way
    if (b === null || b === undefined) return -1
    return sign * (typeof a === 'string' ? a.localeCompare(String(b), 'en', { numeric: true }) : a - b)
  }
}

// Texts that a spreadsheet would take for a formula get a quote before them.
function field(value) {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export const csv = (names, rows) => [names, ...rows].map((row) => row.map(field).join(',')).join('\r\n') + '\r\n'

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }))
  make('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
