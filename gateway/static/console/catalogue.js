// The catalogue: search, and with ?item= one item: its counts, what goes with it, which scenarios show it, which do not.

import { $, button, copyable, labelled, make, section, tile } from './elements.js'
import { call, doing, tell } from './frame.js'
import { count, lasting, moment, money, percent, plain } from './numbers.js'
import { table } from './tables.js'
import { itemLink } from './answers.js'
import { ruleWords } from './words.js'

const PAGE = 20
const ALL = 'has(item_id)'
const params = new URLSearchParams(location.search)
const SHOP = 'nextclick items shop build/shop\nnextclick items load build/shop/items.jsonl.zst'

// ── search ───────────────────────────────────────────────────────────────────────────────────────────────────────

// What is typed, as a condition: an item id, or words that stand in the title.
function conditionOf(words, filter) {
  const each = words.toLowerCase().split(/\s+/).filter(Boolean).map((word) => `contains(lower(title), ${JSON.stringify(word)})`)
  const typed = each.length ? `(item_id == ${JSON.stringify(words.trim())} or ${each.join(' and ')})` : null
  return [typed, filter.trim() ? `(${filter.trim()})` : null].filter(Boolean).join(' and ')
}

const stockOf = (item) => (item.stock === undefined ? 'not counted' : item.stock ? count(item.stock) : 'sold out')
const priceOf = (item) => (item.price === undefined || item.price === null ? null : item.price)

function results(items) {
  return table({
    caption: 'Items found', sorted: { at: 0, down: false }, rows: items.map((item) => ({ ...item, quiet: item.stock === 0 })),
    columns: [
      { label: 'Title', cell: (item) => itemLink(item.item_id, item.title), value: (item) => item.title },
      { label: 'Price', number: true, cell: (item) => money(priceOf(item), item.attributes?.currency), value: priceOf },
      { label: 'Stock', number: true, cell: stockOf, value: (item) => item.stock ?? null },
      { label: 'Id', cell: (item) => item.item_id, value: (item) => item.item_id },
      { label: 'Category', cell: (item) => item.category ?? '', value: (item) => item.category ?? '' },
    ],
  })
}

let seen = [] // items of the pages so far
async function find(cursor) {
  const filter = conditionOf($('words').value, $('filter').value)
  const asked = new URLSearchParams({ limit: PAGE, filter: filter || ALL, ...(cursor ? { cursor } : {}) })
  $('filter-wrong').textContent = ''
  $('filter').setAttribute('aria-invalid', 'false')
  let page
  try {
    page = await call('GET', `/api/items?${asked}`)
  } catch (error) {
    if (error.status !== 422) throw error
    $('filter').setAttribute('aria-invalid', 'true')
    $('filter-wrong').textContent = error.errors[0]?.detail ?? error.message
    return
  }
  seen = cursor ? [...seen, ...page.items] : page.items
  const further = page.cursor ? button(seen.length ? 'More' : 'Look further', () => doing(() => find(page.cursor)), { id: 'more' }) : null
  const many = seen.length ? make('p', { class: 'quiet', id: 'many' }, `${count(seen.length)} found${page.cursor ? ' so far; more may follow' : ', that is all'}.`) : null
  $('found').replaceChildren(...[many, seen.length ? results(seen) : nothing(Boolean(filter), Boolean(page.cursor)), further].filter(Boolean))
}

function nothing(asked, goesOn) {
  if (goesOn) return make('p', {}, 'None among the items looked at so far.')
  if (asked) return make('p', {}, 'No item is like that. Words are looked for in titles; an item id is found whole.')
  return make('div', { class: 'stack' }, make('p', {}, 'The catalogue is empty. Load your items, or those of the sample shop:'), copyable(SHOP))
}

function searchPage() {
  const words = make('input', { id: 'words', type: 'search', maxlength: 200, value: params.get('words') ?? '', autocomplete: 'off' })
  const filter = make('input', { id: 'filter', class: 'code', maxlength: 700, value: params.get('filter') ?? '', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder: 'price < 50 and stock > 0', 'aria-describedby': 'filter-wrong' })
  const form = make('form', { class: 'card', role: 'search' },
    make('div', { class: 'grid' }, labelled('Words of the title, or an item id', words), labelled('And a condition, as in scenarios', filter, make('p', { class: 'wrong', id: 'filter-wrong', role: 'alert' }))),
    make('div', { class: 'acts' }, make('button', { type: 'submit', class: 'main' }, 'Search')))
  form.onsubmit = (event) => {
    event.preventDefault()
    history.replaceState(null, '', `?${new URLSearchParams({ words: words.value, filter: filter.value })}`)
    doing(() => find())
  }
  $('main').replaceChildren(make('h1', {}, 'Catalogue'), form, make('section', { class: 'card', id: 'found', 'aria-label': 'Items found' }))
  return doing(() => find())
}

// ── one item ─────────────────────────────────────────────────────────────────────────────────────────────────────

const text = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value))

function facts({ item, has_vector, sold_out }) {
  const { item_id, title, description, attributes = {}, ...fields } = item
  const own = Object.entries(attributes).map(([name, value]) => [`attributes.${name}`, value])
  const told = [['item_id', item_id], ...Object.entries({ stock: 'not counted', ...fields }), ...own].filter(([, value]) => value !== null && value !== undefined)
  const notes = [sold_out ? 'It is sold out: no scenario shows it.' : null, has_vector ? null : 'It has no vector yet: it is found by counts alone.'].filter(Boolean)
  return section('The item', ...notes.map((note) => make('p', { class: 'decides stop' }, note)), description ? make('p', {}, description) : null,
    make('dl', { class: 'facts' }, told.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, name.endsWith('_ms') ? moment(value) : text(value))))))
}


function trends({ trends: counts }) {
  if (!counts) return section('How it goes', make('p', {}, 'Nobody clicked it, and it was not shown, as far as the trends table remembers.'))
  const ratio = counts.usual > 0.001 ? counts.lately / counts.usual : null
  const times = ratio === null ? '' : `${plain(Number(ratio.toPrecision(2)))} times its usual`
  const all = Object.values(counts.origins).reduce((sum, many) => sum + many, 0)
  const origin = { entry: 'began a session', forward: 'came from another item', return: 'came back to it', repeat: 'clicked it again' }
  return section('How it goes', make('dl', { class: 'tiles' },
    tile('Clicks an hour, lately', 'Clicks an hour, lately', plain(Number(counts.lately.toPrecision(3))), times), tile('Clicks an hour, usually', 'Clicks an hour, usually', plain(Number(counts.usual.toPrecision(3)))),
    tile('Shown', 'Shown', count(Math.round(counts.shown)), `${count(Math.round(counts.clicked))} of them clicked`), tile('Clicks by showing', 'Clicks by showing', percent(counts.click_rate), 'drawn towards the rate of all items')),
  make('p', { class: 'quiet' }, `Counts fade: half of each is gone after ${lasting(counts.half_life_ms)}, “lately” after ${lasting(counts.recent_half_life_ms)}. They are of all scenarios together.`),
  all ? make('p', {}, `Of its clicks ${Object.entries(origin).map(([name, words]) => `${percent(counts.origins[name] / all)} ${words}`).join(', ')}.`) : null)
}

function goesWith(title, about, items, share, label, none) {
  if (!items.length) return section(title, make('p', { class: 'quiet' }, none))
  const most = Math.max(...items.map(share), 1e-9)
  return section(title, make('p', { class: 'quiet' }, about), make('ol', { class: 'near' }, items.map((item) => {
    const bar = make('span', { class: 'share' })
    bar.style.setProperty('--share', Math.max(0, share(item) / most))
    return make('li', {}, make('span', { class: 'of' }, itemLink(item.item_id, item.title)), bar, make('span', { class: 'numbers' }, label(item)))
  })))
}

function verdict(one) {
  if (one.wrong) return `It cannot be asked: ${one.wrong}`
  if (one.dropped) return `Never: ${ruleWords(one.dropped)}.`
  const buried = one.buried ? 'It buries the item at the end of a page. ' : ''
  return buried + (one.position ? `At place ${one.position} of a page of 100.` : 'Not among the first 100: others rank higher, or no source proposes it without a click.')
}

function shownBy({ scenarios, left_out }) {
  return section('Who shows it', make('p', { class: 'quiet' }, 'Asked now, for a visitor of whom nothing is known. What a visitor clicked changes the place, not what a rule drops.'),
    table({
      caption: 'Scenarios that show the item', rows: scenarios,
      columns: [
        { label: 'Scenario', cell: (one) => make('a', { href: `/console/scenarios?${new URLSearchParams({ name: one.name })}` }, one.name), value: (one) => one.name },
        { label: 'Place', number: true, cell: (one) => (one.position ? String(one.position) : '–'), value: (one) => one.position },
        { label: 'Why', cell: (one) => make('span', { class: 'wraps' }, verdict(one)) },
      ],
    }),
    left_out ? make('p', { class: 'quiet' }, `${left_out} more were not asked.`) : null)
}

async function itemPage(id) {
  let found
  try {
    found = await call('GET', `/api/items/${encodeURIComponent(id)}/insight`)
  } catch (error) {
    if (error.status !== 404) throw error
    $('main').replaceChildren(make('h1', {}, id), section('The catalogue has no such item', make('p', {}, 'It was deleted, or never put. ', make('a', { href: '/console/catalogue' }, 'Search for another.'))))
    return
  }
  document.title = `${found.item.title} · Nextclick console`
  $('main').replaceChildren(make('p', { class: 'quiet' }, make('a', { href: '/console/catalogue' }, '← Catalogue')), make('h1', {}, found.item.title),
    make('div', { class: 'split even' },
      make('div', { class: 'stack' }, facts(found), trends(found), shownBy(found)),
      make('div', { class: 'stack' },
        goesWith('Viewed with it', 'Of the clicks on this item, the share that is followed or led by the other.', found.covisited, (one) => one.share, (one) => percent(one.share), 'Nothing yet: no session clicked it and another item.'),
        goesWith('Taken with it', 'Ended sessions that put both in the cart, or bought both.', found.together, (one) => one.sessions, (one) => count(one.sessions), 'Nothing yet: no ended session took it and another item.'),
        goesWith('Nearest to it', 'By the cosine of the items’ vectors.', found.nearest, (one) => one.similarity, (one) => one.similarity.toFixed(2), 'Nothing: it has no vector, or is alone.'))))
}

const item = params.get('item')
tell('')
if (item) await doing(() => itemPage(item))
else await searchPage()
