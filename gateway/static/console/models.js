// Versions of the models: which serves, what each was made of; two compared; publish, go back, pin.

import { $, button, copyable, labelled, make, section, select, tile } from './elements.js'
import { call, confirming, doing, every, notice, Refused, tell } from './frame.js'
import { count, DASH, moment, percent, plain } from './numbers.js'
import { table } from './tables.js'

const EACH = 10_000
const DIGITS = 8
const asked = Object.fromEntries(new URLSearchParams(location.search))
const marks = (one) => [one.serving && 'serving', one.shadow && 'shadow', one.pinned && 'pinned', one.previous && 'previous', one.damaged && 'damaged'].filter(Boolean)
const chips = (one) => make('span', { class: 'chips' }, marks(one).map((mark) => make('span', { class: `state ${mark === 'serving' ? 'running' : mark === 'damaged' ? 'bad' : ''}` }, mark)))
const mb = (bytes) => `${count(bytes / 1e6)} MB`

// ── what serves ──────────────────────────────────────────────────────────────────────────────────────────────────

function head(found, processes) {
  const one = found.versions.find((version) => version.serving)
  const there = processes.filter((process) => process.kind === 'gateway' && process.alive)
  const taken = there.filter((process) => process.serves.version === found.serving).length
  const all = there.length && taken === there.length
  return make('section', { class: 'card', id: 'head' }, make('div', { class: 'line' }, make('h2', {}, found.serving ? 'Serving' : 'No version serves yet'), one ? chips(one) : null),
    found.serving ? make('p', { class: 'decision code' }, found.serving) : make('p', {}, 'Publish one below.'),
    one ? make('p', { class: 'quiet' }, `Made ${moment(one.made_ms)}${one.by ? ` by ${one.by}` : ''}${one.note ? `: ${one.note}` : ''}.`) : null,
    there.length ? make('p', { id: 'taken', class: all ? 'quiet' : '' }, all ? `${there.length === 1 ? 'The gateway process has' : `${there.length === 2 ? 'Both' : `All ${there.length}`} gateway processes have`} taken it up.` : `${taken} of ${there.length} gateway processes have taken it up. A re-ranker is taken up within seconds; a session model when the index snapshot of its item tower is built.`) : null,
    make('div', { class: 'acts' },
      found.previous && found.previous !== found.serving ? button('Go back to the one before', () => rollback(found), { id: 'rollback', class: 'danger' }) : null,
      found.pinned ? button(`Let go of ${found.pinned}`, () => pin(null, found), { id: 'unpin' }) : found.serving ? button('Pin it', () => pin(found.serving, found), { id: 'pin' }) : null),
    found.pinned ? make('p', { class: 'quiet' }, 'While a version is pinned, nothing else is published: not by hand, and not by retraining.') : null)
}

// ── the candidate in the shadow ──────────────────────────────────────────────────────────────────────────────────

const SHADOW = [
  ['answers', 'Answers compared', count, 'what it has no time for is left out'],
  ['overlap_at_10', 'Of the first ten, both have', percent, 'lower: more of the page changes'],
  ['rank_correlation', 'Order of what both have', plain, "Spearman's: 1 the same, 0 unrelated"],
  ['score_difference', 'Scores differ by', plain, 'mean, of what both have'],
]

function shadow({ shadow: one }) {
  if (!one) return null
  const why = one.answers === null ? 'Redis does not tell now what was found.' : one.answers ? null : 'No answer was compared yet: it answers when a recommendation is asked for and nobody else waits.'
  return make('section', { class: 'stack', id: 'shadow' }, make('h2', {}, 'In the shadow'),
    make('p', { class: 'quiet' }, make('span', { class: 'code' }, one.name), ` is asked for ${percent(one.share)} of the answers too. Nobody is shown what it answers.${one.at_ms ? ` Since ${moment(one.at_ms)}${one.by ? `, by ${one.by}` : ''}.` : ''}`),
    why ? make('p', {}, why) : make('dl', { class: 'tiles four' }, SHADOW.map(([name, label, text, note]) => tile(name, label, text(one[name]), note))),
    make('p', { class: 'quiet' }, make('code', {}, 'nextclick models shadow --none'), ' ends it. Publish it below to let it serve.'))
}

// ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────

const why = () => make('textarea', { id: 'why', rows: 3, maxlength: 500, required: true })

function publish(one, found) {
  const reason = why()
  confirming({
    title: 'Publish this version?', text: `${one.name} serves everybody from then on${found.serving ? `, instead of ${found.serving}` : ''}. Every file of it is read and compared first.`,
    fields: [labelled('Why (kept in the history)', reason)], label: 'Publish it',
    act: async () => {
      await call('POST', `/api/models/${one.name}/publish`, { why: reason.value.trim(), ...(found.serving ? { serving: found.serving } : {}) })
      await load()
      tell(`${one.name} serves now.`)
    },
  })
}

function rollback(found) {
  const reason = why()
  confirming({
    title: 'Go back to the version before?', text: `${found.previous} serves again, instead of ${found.serving}.`,
    fields: [labelled('Why (kept in the history)', reason)], label: 'Go back', danger: true,
    act: async () => {
      await call('POST', '/api/models/rollback', { why: reason.value.trim(), serving: found.serving })
      await load()
      tell(`${found.previous} serves again.`)
    },
  })
}

function pin(name, found) {
  const reason = why()
  confirming({
    title: name ? 'Pin this version?' : 'Let others serve again?', text: name ? `Nothing replaces ${name}, until it is let go.` : `${found.pinned} may be replaced again.`,
    fields: [labelled('Why (kept in the history)', reason)], label: name ? 'Pin it' : 'Let it go',
    act: async () => {
      await call('POST', '/api/models/pin', { name, why: reason.value.trim() })
      await load()
      tell(name ? `${name} is pinned.` : `${found.pinned} is pinned no more.`)
    },
  })
}

// ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────

const range = ({ first_ms: first, last_ms: last, events }) => (first === null && events === null ? DASH : `${first === null ? '' : `${moment(first).slice(0, 10)} to ${moment(last).slice(0, 10)}`}${events === null ? '' : `${first === null ? '' : ', '}${count(events)} events`}`)
const figures = (one) => {
  const each = Object.entries(one.figures ?? {}).map(([name, value]) => make('li', {}, `${name} ${plain(value)}`))
  return each.length ? make('ul', {}, each) : DASH
}

function versions(found) {
  const card = (one) => make('li', {}, make('article', { class: 'card', 'data-version': one.name },
    make('div', { class: 'line' }, make('b', { class: 'code' }, one.name), chips(one)),
    one.damaged ? make('p', { class: 'wrong' }, one.damaged) : [
      make('p', { class: 'quiet' }, `${moment(one.made_ms)}${one.by ? ` · ${one.by}` : ''}${one.note ? ` · ${one.note}` : ''}`),
      make('dl', { class: 'facts' }, [['Figures', figures(one)], ['Learnt from', range(one.data)], ['Parent', one.parent ?? 'none'], ['Session model', one.session_model?.slice(0, DIGITS) ?? 'none'], ['Re-ranker', one.reranker?.slice(0, DIGITS) ?? 'none'], ['Size', mb(one.bytes)]].map(([name, value]) =>
        make('div', {}, make('dt', {}, name), make('dd', {}, value)))),
      one.serving ? null : make('div', { class: 'acts' }, button('Publish', () => publish(one, found), { 'data-publish': one.name, disabled: Boolean(found.pinned && found.pinned !== one.name) })),
    ]))
  return make('section', { class: 'stack' }, make('h2', {}, 'Versions'), make('ul', { class: 'cards', id: 'versions' }, found.versions.map(card)),
    found.more ? make('p', { class: 'quiet' }, `${count(found.more)} older ones: nextclick models list.`) : null)
}

// ── two compared ─────────────────────────────────────────────────────────────────────────────────────────────────

function flat(one) {
  const said = { made: moment(one.made_ms), by: one.by, note: one.note, parent: one.parent, code: one.code_version, 'session model': one.session_model, 're-ranker': one.reranker, size: mb(one.bytes), 'learnt from': range(one.data) }
  for (const [name, value] of Object.entries(one.figures)) said[`figure: ${name}`] = value
  const walk = (at, value) => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) for (const [name, inner] of Object.entries(value)) walk(`${at}.${name}`, inner)
    else said[`setting: ${at.slice(1)}`] = value
  }
  walk('', one.settings)
  return said
}

const shown = (value) => (value === null || value === undefined || value === '' ? DASH : typeof value === 'number' ? plain(value) : typeof value === 'string' ? value : JSON.stringify(value))

function compared(found) {
  const whole = found.versions.filter((one) => !one.damaged)
  if (whole.length < 2) return null
  const names = whole.map((one) => [one.name, `${one.name}${one.serving ? ' (serving)' : ''}`])
  const known = (name, otherwise) => (whole.some((one) => one.name === name) ? name : otherwise)
  asked.one = known(asked.one, found.serving ?? names[0][0])
  asked.other = known(asked.other, names.find(([name]) => name !== asked.one)[0])
  const [one, other] = [asked.one, asked.other].map((name) => flat(whole.find((version) => version.name === name)))
  const rows = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name])).map((name) => ({ name, one: one[name], other: other[name] }))
  const moved = ({ name, one: a, other: b }) => (name.startsWith('figure: ') && typeof a === 'number' && typeof b === 'number' && a ? `${b > a ? '+' : '−'}${Math.abs(100 * (b / a - 1)).toFixed(1)}%` : '')
  const choose = (which) => select(which, names, asked[which], (name) => {
    asked[which] = name
    history.replaceState(null, '', `${location.pathname}?${new URLSearchParams(asked)}`)
    $('compared').replaceWith(compared(found))
    $(which).focus()
  })
  const columns = [{ label: '', cell: (row) => row.name }, { label: asked.one, cell: (row) => shown(row.one) }, { label: asked.other, cell: (row) => shown(row.other) }, { label: 'Change', number: true, cell: moved }]
  const made = section('Two compared', make('div', { class: 'grid' }, labelled('Version', choose('one')), labelled('with', choose('other'))),
    rows.length ? table({ caption: 'What differs', columns, rows }) : make('p', {}, 'They hold the same.'))
  made.id = 'compared'
  return made
}

function changes(found) {
  if (!found.history.length) return section('History', make('p', {}, 'Nothing was published yet.'))
  const columns = [{ label: 'When', cell: (row) => moment(row.at_ms) }, { label: '', cell: (row) => row.did }, { label: 'Version', cell: (row) => make('span', { class: 'code' }, row.name) }, { label: 'By', cell: (row) => row.by || DASH }, { label: 'Why', cell: (row) => make('span', { class: 'wrapped' }, row.why || DASH) }]
  return section('History', table({ caption: 'Who made which version serve', columns, rows: found.history }))
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

let seen = ''

async function load() {
  try {
    const [found, { processes }] = await Promise.all([call('GET', '/api/models'), call('GET', '/api/system')])
    const now = JSON.stringify([found, processes.map((one) => [one.pid, one.alive, one.serves])])
    if (now === seen || (seen && document.activeElement?.tagName === 'SELECT')) return
    seen = now
    $('models').replaceChildren(...[head(found, processes), shadow(found), versions(found), compared(found), changes(found)].filter(Boolean))
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error
    $('models').replaceChildren(notice('No registry of models', make('p', {}, 'This gateway serves from no registry, so there are no versions to choose from. Train models, add them to a registry, and serve from it:'),
      copyable('nextclick train models day.jsonl.zst --out models/trained\nnextclick models add models/trained --folder registry --publish\nNEXTCLICK_ARTIFACTS=registry/serving nextclick up'),
      make('p', { class: 'quiet' }, 'From then on each training is a version here: compared, published and taken back from this page.')))
  }
}

$('main').replaceChildren(make('h1', {}, 'Models'), make('div', { id: 'models', class: 'stack' }))
await doing(load)
every(EACH, load)
