// A form that starts a simple experiment: the scenario as it is beside one that a patch changes.

import { $, button, labelled, make, select } from './elements.js'
import { call, doing } from './frame.js'

const METRICS = ['clicks/pages', 'orders', 'revenue', 'clicks', 'carts', 'purchases']
const PATCH = '{"value": {"match": 1, "margin": 0.1}}'

const input = (id, attributes) => make('input', { id, autocomplete: 'off', ...attributes })

// Pointers of the document that the form makes, and the field that each is written in. The longest that leads to an
// error has it.
const FIELDS = {
  '/name': 'new-name', '/scenario': 'new-scenario', '/metric': 'new-metric', '/planned_units': 'new-planned',
  '/variants/0/name': 'new-control', '/variants/0/share': 'new-control-share',
  '/variants/1/name': 'new-variant', '/variants/1/share': 'new-share', '/variants/1/patch': 'new-patch',
}

export async function newExperiment(host, opener) {
  if (host.childElementCount) return close(host, opener)
  const { scenarios } = await call('GET', '/api/scenarios')
  const told = make('ul', { class: 'wrong', role: 'alert', id: 'new-told' })
  const field = (text, control, hint = null) => labelled(text, control, hint && make('p', { class: 'quiet' }, hint), make('p', { class: 'wrong', id: `${control.id}-wrong` }))
  const form = make('form', { class: 'card form', 'aria-label': 'New experiment', novalidate: true },
    make('h2', {}, 'New experiment'), told,
    make('div', { class: 'grid' },
      field('Name (a to z, 0 to 9, _ and -)', input('new-name', { required: true, maxlength: 64 })),
      field('Scenario', select('new-scenario', scenarios.map((one) => [one.name, one.name]), 'homepage', () => {})),
      field('Metric that decides', select('new-metric', METRICS.map((one) => [one, one]), METRICS[0], () => {})),
      field('Planned units', input('new-planned', { inputmode: 'numeric', placeholder: '20000' }), 'Sessions that it is to have, all variants together: at so many its intervals are the shortest. Empty: 20,000.')),
    make('fieldset', {}, make('legend', {}, 'Control: the scenario as it is'), make('div', { class: 'grid' },
      field('Name', input('new-control', { value: 'control' })), field('Share, %', input('new-control-share', { value: '50', inputmode: 'decimal' })))),
    make('fieldset', {}, make('legend', {}, 'Variant: the scenario with a patch'), make('div', { class: 'grid' },
      field('Name', input('new-variant', { value: 'variant' })), field('Share, %', input('new-share', { value: '50', inputmode: 'decimal' }))),
      field('Patch: what the variant has otherwise (JSON)', make('textarea', { id: 'new-patch', rows: 5, spellcheck: 'false', class: 'code' }, PATCH))),
    make('div', { class: 'acts' }, make('button', { type: 'submit', class: 'main' }, 'Start it'), button('Cancel', () => close(host, opener))))
  form.onsubmit = (event) => {
    event.preventDefault()
    doing(() => start(told))
  }
  host.replaceChildren(form)
  opener.setAttribute('aria-expanded', 'true')
  $('new-name').focus()
}

function close(host, opener) {
  host.replaceChildren()
  opener.setAttribute('aria-expanded', 'false')
  opener.focus()
}

async function start(told) {
  const wrong = []
  const document = documentOf(wrong)
  const name = $('new-name').value.trim()
  if (!/^[a-z0-9_-]{1,64}$/.test(name)) wrong.push({ pointer: '/name', detail: 'expected a to z, 0 to 9, _ and -' })
  if (!wrong.length) {
    try {
      await call('PUT', `/api/experiments/${name}`, document)
      location.assign(`/console/experiments?name=${name}`)
      return
    } catch (error) {
      if (!error.status) throw error
      wrong.push(...(error.errors.length ? error.errors : [{ pointer: '', detail: error.message }]))
    }
  }
  show(wrong, told)
}

function documentOf(wrong) {
  const number = (id, pointer) => {
    const value = Number($(id).value.replace(',', '.'))
    if ($(id).value.trim() && Number.isFinite(value)) return value
    wrong.push({ pointer, detail: `expected a number, got ${JSON.stringify($(id).value)}` })
    return NaN
  }
  const share = (id, pointer) => { // the form has percent, a document shares of 1
    const percent = number(id, pointer)
    if (percent < 0.1 || percent > 100) wrong.push({ pointer, detail: `expected 0.1% to 100%, got ${percent}%` })
    return Math.round(percent * 10) / 1000
  }
  let patch = {}
  try {
    patch = JSON.parse($('new-patch').value)
  } catch (error) {
    wrong.push({ pointer: '/variants/1/patch', detail: error.message })
  }
  const planned = $('new-planned').value.trim() ? { planned_units: number('new-planned', '/planned_units') } : {}
  const shares = [share('new-control-share', '/variants/0/share'), share('new-share', '/variants/1/share')]
  const together = Math.round(1000 * (shares[0] + shares[1])) / 10
  if (together > 100 && Math.max(...shares) <= 1) wrong.push({ pointer: '', detail: `expected shares of at most 100% together, got ${together}%` })
  return {
    scenario: $('new-scenario').value, metric: $('new-metric').value, ...planned,
    variants: [
      { name: $('new-control').value.trim(), share: shares[0] },
      { name: $('new-variant').value.trim(), share: shares[1], patch },
    ],
  }
}

function show(wrong, told) {
  for (const id of Object.values(FIELDS)) {
    $(`${id}-wrong`).textContent = ''
    $(id).removeAttribute('aria-invalid')
    $(id).removeAttribute('aria-describedby')
  }
  const rest = []
  let first = null
  for (const { pointer, detail } of wrong) {
    const at = Object.keys(FIELDS).filter((one) => pointer === one || pointer.startsWith(`${one}/`)).sort((a, b) => b.length - a.length)[0]
    if (!at) {
      rest.push(make('li', {}, pointer ? `${pointer}: ${detail}` : detail))
      continue
    }
    const id = FIELDS[at]
    const deeper = pointer.slice(at.length)
    $(`${id}-wrong`).textContent += `${$(`${id}-wrong`).textContent ? '; ' : ''}${deeper ? `${deeper}: ` : ''}${detail}`
    $(id).setAttribute('aria-invalid', 'true')
    $(id).setAttribute('aria-describedby', `${id}-wrong`)
    first ??= $(id)
  }
  told.replaceChildren(...rest)
  first?.focus()
}
