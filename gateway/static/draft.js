// The draft's text on the page: line numbers, and errors shown at their place and told below it.

import { $, button, make } from './elements.js'
import { lineColumn, NotJson, parse } from './places.js'

let wrong = new Set() // lines with an error

function showLines(text) {
  const many = text.split('\n').length
  $('gutter').replaceChildren(...Array.from({ length: many }, (_, at) =>
    make('span', wrong.has(at + 1) ? { class: 'wrong' } : {}, `${at + 1}\n`)))
}

// Show a text that was changed: marks of the text before no longer stand where they stood.
export function showDraft(text) {
  showErrors(text, [])
}

// `errors` are {range: [start, end], pointer, detail}, in characters of the text; `warns` where it can be published.
export function showErrors(text, errors) {
  const told = errors.map((one) => ({ ...one, ...lineColumn(text, one.range[0]) }))
    .sort((one, other) => one.range[0] - other.range[0])
  const refused = told.filter((one) => !one.warns)
  wrong = new Set(refused.map((one) => one.line))
  showLines(text)
  mark(text, told)
  $('draft').setAttribute('aria-invalid', String(refused.length > 0))
  $('draft-errors').replaceChildren(...told.map(row))
  follow()
}

// Read the draft. Null, and the places shown, where it is no JSON object, or gives a name twice.
export function readDraft() {
  const text = $('draft').value
  try {
    const found = parse(text)
    if (found.value === null || typeof found.value !== 'object' || Array.isArray(found.value)) throw new NotJson(0, 'expected an object: {…}')
    if (!found.twice.length) return found
    showErrors(text, found.twice)
  } catch (error) {
    if (!(error instanceof NotJson)) throw error
    showErrors(text, [{ range: [error.offset, error.offset + 1], pointer: '', detail: error.message }])
  }
  return null
}

function mark(text, errors) {
  const parts = []
  let at = 0
  for (const { range: [start, end], warns } of errors) {
    if (start < at) continue
    const marked = text.slice(start, Math.max(end, start + 1)).split('\n')[0] || ' '
    parts.push(text.slice(at, start), make('mark', warns ? { class: 'warns' } : {}, marked))
    at = start + marked.length
  }
  $('marks').replaceChildren(...parts, text.slice(at))
}

function row({ line, column, pointer, detail, range, warns }) {
  const place = button(`Line ${line}, column ${column}`, () => {
    $('draft').focus()
    $('draft').setSelectionRange(...range)
  }, { class: 'place-link' })
  const where = pointer ? [make('code', {}, pointer), ' '] : []
  const kind = warns ? ['Warning: '] : []
  return make('li', warns ? { class: 'warns' } : {}, place, make('span', {}, ...kind, ...where, detail.replace(/^line \d+, column \d+: /, '')))
}

// Numbers and marks stand beside and behind the text, and scroll with it.
function follow() {
  $('gutter').scrollTop = $('marks').scrollTop = $('draft').scrollTop
  $('marks').scrollLeft = $('draft').scrollLeft
}

$('draft').addEventListener('scroll', follow)
