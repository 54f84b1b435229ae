// One scenario: its document as a draft that is checked and tried while it is written; its versions; publish, go back.

import { $, button, labelled, make, section } from './elements.js'
import { call, confirming, doing, tell } from './frame.js'
import { moment } from './numbers.js'
import { aboutAnswer, droppedPart, preview, ranking } from './answers.js'
import { diff } from './diff.js'
import { examples } from './examples.js'
import { Latest } from './latest.js'
import { atPlaces } from './places.js'
import { inWords } from './words.js'

const PAUSE_MS = 300
const SHOWN = 8
const NOBODY = 'console-nobody' // a session that nothing is known of

let showDraft // of draft.js, which wants its elements in the page
let showErrors
let readDraft
let name
let published = null // as the gateway has it; null: nothing, and no placement
let versions = []
let madeFrom = 0 // the version that the draft was made from
let before = { of: null, answer: null } // the published list is asked for once, until it or the session changes

const path = (rest = '') => `/api/scenarios/${encodeURIComponent(name)}${rest}`
const pretty = (document) => JSON.stringify(document, null, 2)
const asPublished = () => pretty(published?.scenario ?? { base: 'homepage' })
const state = (text) => ($('preview-state').textContent = text)
const wordsOfBefore = (are) => ($('words-of').hidden = !are)

// ── the draft ────────────────────────────────────────────────────────────────────────────────────────────────────

// A draft that is not published outlives a reload, and a look at another page: it stays in this tab.
const kept = () => `draft of ${name}`

function keep() {
  const text = $('draft').value
  $('restore').hidden = text === asPublished()
  if ($('restore').hidden) sessionStorage.removeItem(kept())
  else sessionStorage.setItem(kept(), JSON.stringify({ text, madeFrom }))
}

function write(text, from) {
  $('draft').value = text
  madeFrom = from
  changed()
}

function changed() {
  keep()
  showDraft($('draft').value)
  $('publish').disabled = true
  const found = readDraft()
  if (found === null) {
    trying.drop()
    wordsOfBefore(true)
    return state('not right yet: the list is of the draft before')
  }
  trying.want({ scenario: found.value, session: $('session').value.trim() || NOBODY, beside: published?.version })
}

// Put an example into the draft. What is written there already stays.
function insert(example) {
  const found = readDraft()
  const [field] = Object.keys(example)
  if (found === null) return tell('The draft is not right yet: mend it first, or take it as published.', true)
  if (field in found.value) return tell(`The draft has ${field} already.`, true)
  tell('')
  write(pretty({ ...found.value, ...example }), madeFrom)
  $('draft').focus()
}

// Show what the gateway says of the draft at its place; false where it says nothing of it.
function refused(error) {
  const found = readDraft()
  if (error.status !== 422 || !error.errors?.length || found === null) return false
  const within = error.errors.map(({ pointer, detail }) => ({ pointer: pointer.replace(/^\/scenario(?=\/|$)/, ''), detail }))
  showErrors($('draft').value, atPlaces(found, within))
  return true
}

// ── the preview ──────────────────────────────────────────────────────────────────────────────────────────────────

async function whoIs(session) {
  if (session === NOBODY) return { session_id: NOBODY }
  try {
    const { clicks, user_id } = await call('GET', `/api/sessions/${encodeURIComponent(session)}`)
    const looked = clicks.find((click) => click.item_id !== undefined)?.item_id
    return { session_id: session, ...(user_id ? { user_id } : {}), ...(looked ? { looked } : {}) }
  } catch (error) {
    if (error.status !== 404) throw error
    return { session_id: session }
  }
}

const trying = new Latest({
  pauseMs: PAUSE_MS,
  ask: async ({ scenario, session }) => {
    state('…')
    const who = await whoIs(session)
    const same = JSON.stringify([published?.version, who])
    if (published && before.of !== same) before = { of: same, answer: await preview(name, published.scenario, who, { limit: SHOWN }) }
    return { scenario, after: await preview(name, scenario, who, { limit: SHOWN }) }
  },
  shown: ({ scenario, after }) => {
    const now = published ? before.answer : null
    const title = published?.version ? `Published, version ${published.version}` : 'As the placement is'
    $('lists').replaceChildren(...(now ? [ranking(title, now, null, { id: 'published' })] : []), ranking('The draft', after, now, { id: 'drafted' }))
    $('about').replaceChildren(aboutAnswer(after), ...[droppedPart(after)].filter(Boolean))
    showErrors($('draft').value, atPlaces(readDraft(), after.warnings ?? []).map((one) => ({ ...one, warns: true })))
    showWords(scenario)
    wordsOfBefore(false)
    const same = published !== null && JSON.stringify(scenario) === JSON.stringify(published.scenario)
    $('publish').disabled = same
    state(same ? 'as published' : `${after.recommendations.length} items`)
  },
  failed: (error) => {
    if (!refused(error)) tell(error.message, true)
    wordsOfBefore(true)
    state('the list is of the draft before')
  },
})

const showWords = (scenario) => $('words').replaceChildren(...inWords(scenario, name).map((text) => make('li', {}, text)))

// ── publishing and going back ────────────────────────────────────────────────────────────────────────────────────

async function written(done, said) {
  sessionStorage.removeItem(kept())
  await load()
  const seen = done.visible ? 'Every process answers by it.' : 'It is written; processes take it up in a moment.'
  tell(`${said} ${seen}`)
}

async function publish() {
  const found = readDraft()
  if (found === null) return
  try {
    const done = await call('PUT', path(`?made_from=${madeFrom}`), found.value)
    await written(done, `Version ${done.version} of ${done.name} is published.`)
  } catch (error) {
    if (error.status === 409) return overtaken()
    if (!refused(error)) throw error
  }
}

// Somebody else published since the draft was begun: the draft stays, beside what is published now.
async function overtaken() {
  const text = $('draft').value
  await load()
  write(text, published?.version ?? 0)
  const now = published?.version ? `Version ${published.version} was published` : 'It was deleted'
  tell(`${now} since you began this draft. Nothing was written: look at both, and publish again if yours is to replace it.`, true)
}

function rollback(one) {
  confirming({
    title: `Go back to version ${one.version}?`,
    text: `Its document is published again, as a new version of ${name}, for everybody.`,
    label: 'Go back',
    act: async () => {
      const done = await call('POST', path('/rollback'), { version: one.version })
      await written(done, `Version ${done.version} is as version ${one.version} was.`)
    },
  })
}

function remove() {
  confirming({
    title: `Delete ${name}?`, danger: true, label: 'Delete it',
    text: 'A placement of that name answers as it did before. Any other name is not found from then on.',
    act: async () => {
      await call('DELETE', path())
      sessionStorage.removeItem(kept())
      location.assign('/console/scenarios')
    },
  })
}

function versionRow(one, at) {
  const older = versions[at + 1]
  const lines = diff(older ? pretty(older.scenario) : '', pretty(one.scenario)).filter(([sign, line]) => sign !== '-' || line)
  const shown = make('pre', { class: 'diff', tabindex: 0, 'aria-label': `What version ${one.version} changed` }, lines.map(([sign, line]) =>
    make('span', { class: sign === '+' ? 'comes' : sign === '-' ? 'goes' : null }, `${sign} ${line}\n`)))
  const acts = [button('Open as a draft', () => {
    write(pretty(one.scenario), published?.version ?? 0)
    $('draft').focus()
  })]
  if (one.version !== published?.version) acts.push(button('Go back to it', () => rollback(one), { 'data-back': one.version }))
  const what = `Version ${one.version}${one.version === published?.version ? ', published now' : ''}`
  return make('li', {}, make('details', { 'data-version': one.version }, make('summary', {}, make('span', {}, what, make('small', { class: 'quiet' }, ` ${moment(one.published_ms)}${one.by ? `, by ${one.by}` : ''}`))),
    make('div', { class: 'stack' }, make('p', { class: 'quiet' }, older ? `Against version ${older.version}:` : 'The oldest that is kept:'), shown, make('div', { class: 'acts' }, acts))))
}

function showVersions() {
  $('versions').replaceChildren(...(versions.length ? versions.map(versionRow) : [make('li', { class: 'quiet' }, 'Nothing was published under this name.')]))
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

async function orNone(asked) {
  try {
    return await asked
  } catch (error) {
    if (error.status !== 404) throw error
    return null
  }
}

async function load() {
  published = await orNone(call('GET', path()))
  versions = (await orNone(call('GET', path('/versions'))))?.scenarios ?? []
  const was = JSON.parse(sessionStorage.getItem(kept()))
  if (was) tell('Your draft is here again. It is not published.')
  $('delete').hidden = !published?.version
  $('which').textContent = published === null ? 'not published yet' : published.version ? `version ${published.version}` : 'a placement, nothing put over it'
  showWords(published?.scenario ?? { base: 'homepage' })
  showVersions()
  write(was?.text ?? asPublished(), was?.madeFrom ?? published?.version ?? 0)
}

function editor() {
  const text = make('textarea', { id: 'draft', wrap: 'off', spellcheck: 'false', autocomplete: 'off', autocapitalize: 'none', 'aria-label': 'The scenario’s document, JSON', 'aria-describedby': 'draft-errors' })
  return section('The document', make('p', { id: 'words-of', class: 'quiet', hidden: true }, 'Not of this draft, but of the last one that was right:'), make('ul', { id: 'words', class: 'words' }),
    make('div', { class: 'sheet' }, make('pre', { id: 'gutter', class: 'gutter', 'aria-hidden': 'true' }),
      make('div', { class: 'lines' }, make('pre', { id: 'marks', class: 'marks', 'aria-hidden': 'true' }), text)),
    make('ul', { id: 'draft-errors', class: 'draft-errors', 'aria-live': 'polite' }),
    make('div', { class: 'acts' }, button('Publish', () => doing(publish), { id: 'publish', class: 'main', disabled: true }),
      button('As published', () => write(asPublished(), published?.version ?? 0), { id: 'restore', hidden: true }), button('Delete', remove, { id: 'delete', class: 'danger', hidden: true })),
    examples(insert))
}

function tried(sessions) {
  const whose = make('input', { id: 'session', list: 'sessions', maxlength: 256, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder: 'a visitor of whom nothing is known', value: sessions[0]?.session_id ?? '' })
  whose.onchange = changed
  return section('Before and after', make('p', { class: 'quiet' }, 'The draft answers a session as you write. Nothing changes for anybody until it is published.'),
    labelled('Session', whose, make('datalist', { id: 'sessions' }, sessions.map((one) => make('option', { value: one.session_id })))),
    make('p', { id: 'preview-state', class: 'quiet', role: 'status', 'aria-live': 'polite' }),
    make('div', { id: 'lists', class: 'beside' }), make('div', { id: 'about', class: 'stack' }))
}

export async function showScenario(of) {
  name = of
  const { sessions } = await call('GET', '/api/sessions')
  document.title = `${name} · Nextclick console`
  $('main').replaceChildren(make('p', { class: 'quiet' }, make('a', { href: '/console/scenarios' }, '← Scenarios')),
    make('div', { class: 'line' }, make('h1', {}, name), make('span', { class: 'state', id: 'which' })),
    make('div', { class: 'split even' }, make('div', { class: 'stack' }, editor(), section('Versions', make('ol', { id: 'versions', class: 'versions' }))), make('div', { class: 'stack' }, tried(sessions))))
  ;({ showDraft, showErrors, readDraft } = await import('./draft.js'))
  $('draft').oninput = changed
  await load()
}
