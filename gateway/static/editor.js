// The scenario editor: a draft answers the visitor's own session beside what is published, and is published from here.

import { request } from './api.js'
import { $, button, look, make } from './elements.js'
import { droppedRows, rankRows } from './explained.js'
import { Latest } from './latest.js'
import { readDraft, showDraft, showErrors } from './draft.js'
import { atPlaces } from './places.js'

const PAUSE_MS = 300
const SHOWN = 8
const FIELDS = ['title', 'category', 'image_url', 'attributes.colour'] // the page's own key may not open items
const NEW = '\n' // no scenario's name
const SURE_MS = 5_000

let own // a key that was typed in: in the memory of this page, nowhere else
let shop // {visitor(), changed()}
let scenarios = new Map() // name -> as it is published
let places = new Map() // item_id -> position in the published list

const ask = (method, path, body) => request(method, `/api/scenarios${path}`, body, own)
const name = () => ($('scenario').value === NEW ? $('scenario-name').value.trim() : $('scenario').value)
const published = () => scenarios.get(name())
function tell(text, problem = false) {
  $('editor-told').textContent = text
  $('editor-told').className = problem ? 'problem' : ''
}

export async function editScenarios(of) {
  shop = of
  if (!$('editor').open) $('editor').showModal()
  if (!scenarios.size) await load()
  else changed()
}

// ── what there is ────────────────────────────────────────────────────────────────────────────────────────────────

async function load(wanted) {
  try {
    const found = await ask('GET', '')
    scenarios = new Map(found.scenarios.map((one) => [one.name, one]))
  } catch (error) {
    return failed(error)
  }
  $('editor-key').hidden = true
  $('editor-body').hidden = false
  const names = [...scenarios.values()].map((one) =>
    make('option', { value: one.name }, one.version ? `${one.name} (version ${one.version})` : one.name))
  $('scenario').replaceChildren(...names, make('option', { value: NEW }, 'a new one …'))
  $('scenario').value = scenarios.has(wanted) ? wanted : 'homepage'
  choose()
}

function failed(error) {
  const needsKey = error.status === 401 || error.status === 403
  if (needsKey) {
    own = undefined
    $('editor-key').hidden = false
    $('editor-body').hidden = scenarios.size === 0
    $('editor-key-text').focus()
  }
  tell(error.message, true)
}

function choose() {
  const isNew = $('scenario').value === NEW
  $('scenario-name').hidden = !isNew
  if (isNew) $('scenario-name').focus()
  $('draft').value = JSON.stringify(published()?.scenario ?? { base: 'homepage' }, null, 2)
  tell('')
  changed()
  showVersions()
}

// ── the draft ────────────────────────────────────────────────────────────────────────────────────────────────────

function changed() {
  showDraft($('draft').value)
  $('publish').disabled = true
  $('delete').disabled = !published()?.version
  const found = readDraft()
  if (found === null || !name()) {
    preview.drop()
    return state(name() ? 'not right yet: as the draft was before' : 'give it a name')
  }
  preview.want({ name: name(), scenario: found.value, before: published()?.scenario ?? null, version: published()?.version ?? 0, visitor: shop.visitor() })
}

const state = (text) => ($('preview-state').textContent = text)

// ── the preview ──────────────────────────────────────────────────────────────────────────────────────────────────

function questionOf(scenario, of) {
  const { looked, clicks, exclude, ...who } = of.visitor
  const page = looked && [of.name, scenario.base].includes('product') ? { item_id: looked } : {}
  return { ...who, ...page, ...(exclude.length ? { exclude } : {}), limit: SHOWN, explain: true, fields: FIELDS }
}

let shownBefore = { of: null, answer: null } // the published list is asked for once, until it or the session changes

// The published document is previewed as well: a preview is not logged as shown.
async function answerBefore(of) {
  const same = JSON.stringify([of.name, of.before, of.version, of.visitor])
  if (of.before === null) return null
  if (shownBefore.of !== same) {
    const body = { scenario: of.before, request: questionOf(of.before, of) }
    shownBefore = { of: same, answer: await ask('POST', `/${encodeURIComponent(of.name)}/preview`, body) }
  }
  return shownBefore.answer
}

const preview = new Latest({
  pauseMs: PAUSE_MS,
  ask: async (of) => {
    state('…')
    const before = await answerBefore(of)
    const after = await ask('POST', `/${encodeURIComponent(of.name)}/preview`, { scenario: of.scenario, request: questionOf(of.scenario, of) })
    return { of, before, after }
  },
  shown: ({ of, before, after }) => {
    places = new Map((before?.recommendations ?? []).map((one) => [one.item_id, one.position]))
    $('published-version').textContent = before === null ? 'not yet' : of.version ? `version ${of.version}` : 'as the placement is'
    $('published').replaceChildren(...(before === null ? [] : rankRows(before, null, { look })))
    $('preview').replaceChildren(...rankRows(after, before === null ? null : places, { look }))
    $('dropped').replaceChildren(...droppedRows(after.dropped))
    $('dropped-part').hidden = !Object.keys(after.dropped).length
    showErrors($('draft').value, atPlaces(readDraft(), after.warnings ?? []).map((one) => ({ ...one, warns: true })))
    const same = JSON.stringify(of.scenario) === JSON.stringify(of.before)
    $('publish').disabled = same
    state(same ? 'as published' : `${after.recommendations.length} items`)
  },
  failed: (error) => {
    if (!refused(error)) failed(error)
    state('as the draft was before')
  },
})

// Show what the gateway says of the draft at its place; false where it says nothing of it.
function refused(error) {
  const found = readDraft()
  if (error.status !== 422 || !error.errors.length || found === null) return false
  const within = error.errors.map(({ pointer, detail }) => ({ pointer: pointer.replace(/^\/scenario(?=\/|$)/, ''), detail }))
  showErrors($('draft').value, atPlaces(found, within))
  return true
}


// ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function write(method, path, body, said) {
  const at = name()
  try {
    const done = await ask(method, `/${encodeURIComponent(at)}${path}`, body)
    await load(at)
    const seen = done.visible ? 'Every process answers by it.' : 'It is written; processes take it up in a moment.'
    tell(`${said(done)} ${seen}`)
    shop.changed()
  } catch (error) {
    if (error.status === 409 && method === 'PUT') await overtaken()
    else if (!refused(error)) failed(error)
  }
}

// Somebody else published since the draft was begun: the draft stays, beside what is published now.
async function overtaken() {
  const found = await ask('GET', '')
  scenarios = new Map(found.scenarios.map((one) => [one.name, one]))
  changed()
  showVersions()
  const now = published()?.version ? `Version ${published().version} was published` : 'It was deleted'
  tell(`${now} since you began this draft. Nothing was written: look at both, and publish again if yours is to replace it.`, true)
}

async function showVersions() {
  if (!$('versions').closest('details').open) return
  try {
    const found = published()?.version ? (await ask('GET', `/${encodeURIComponent(name())}/versions`)).scenarios : []
    $('versions').replaceChildren(...found.map(versionRow))
    if (!found.length) $('versions').replaceChildren(make('li', { class: 'quiet' }, 'Nothing was published under this name.'))
  } catch (error) {
    failed(error)
  }
}

function versionRow(one) {
  const when = new Date(one.published_ms).toLocaleString()
  const acts = [button('Open', () => {
    $('draft').value = JSON.stringify(one.scenario, null, 2)
    changed()
  }, { 'aria-label': `Open version ${one.version} as a draft` })]
  if (one.version !== published()?.version) {
    acts.push(button('Roll back', () => write('POST', '/rollback', { version: one.version }, (done) => `Version ${done.version} is as version ${one.version} was.`), { 'aria-label': `Roll back to version ${one.version}` }))
  }
  return make('li', {}, make('span', {}, `Version ${one.version}, ${when}${one.by ? `, by ${one.by}` : ''}`), ...acts)
}

function askTwice(asked, act) {
  const words = asked.textContent
  let until = 0
  asked.onclick = () => {
    if (performance.now() < until) {
      until = 0
      asked.textContent = words
      return act()
    }
    until = performance.now() + SURE_MS
    asked.textContent = `Delete ${name()}: sure?`
    setTimeout(() => (asked.textContent = words), SURE_MS)
  }
}

$('scenario').onchange = choose
$('scenario-name').oninput = changed
$('draft').oninput = changed
$('publish').onclick = () => write('PUT', `?made_from=${published()?.version ?? 0}`, readDraft()?.value, (done) => `Version ${done.version} of ${done.name} is published.`)
askTwice($('delete'), () => write('DELETE', '', undefined, (done) => `${done.name} is deleted.`))
$('versions').closest('details').ontoggle = showVersions
$('editor-close').onclick = () => $('editor').close()
$('editor-key').onsubmit = (event) => {
  event.preventDefault()
  own = $('editor-key-text').value.trim()
  $('editor-key-text').value = ''
  tell('')
  load(name())
}
