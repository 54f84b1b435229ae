// Feeds: which catalogues are pulled, how that went, and what was wrong, line by line.

import { $, copyable, make, section } from './elements.js'
import { call, doing, every, notice } from './frame.js'
import { count, lasting, moment } from './numbers.js'
import { table } from './tables.js'

const EACH = 5000
const LATE = 3 // periods without a pull that went well: from there on it is said
const LOOK = { applied: 'running', unchanged: 'running', held: 'bad', failed: 'bad', waiting: 'warn' }

const chip = (outcome) => make('span', { class: `state ${LOOK[outcome] ?? ''}` }, outcome)
const ago = (then, now) => (then ? `${lasting(Math.max(0, now - then))} ago` : 'never')
const late = (feed, now) => now - feed.well_ms > LATE * 1000 * feed.every_s

// ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────

function wrong(found) {
  const said = []
  if (found.feeds.length && !found.pulled) said.push(`Nobody pulls feeds: who did said so last ${ago(found.told_ms, found.at_ms)}. nextclick up does, or nextclick feed run.`)
  for (const feed of found.feeds) {
    const last = feed.pulls[0]
    if (last?.outcome === 'held') said.push(`${feed.name} is held back until somebody confirms it: ${last.why}`)
    else if (last?.outcome === 'failed' || last?.outcome === 'waiting') said.push(`${feed.name}: ${last.why}`)
    else if (found.pulled && late(feed, found.at_ms) && feed.well_ms) said.push(`${feed.name} was pulled well ${ago(feed.well_ms, found.at_ms)}, and is to be every ${lasting(1000 * feed.every_s)}.`)
  }
  return said
}

function verdict(found) {
  const said = wrong(found)
  const left = found.feeds.reduce((sum, feed) => sum + (feed.pulls[0]?.left_out ?? 0), 0)
  const well = left ? `All feeds are applied; ${count(left)} ${left === 1 ? 'item' : 'items'} of the last pulls left out: see what was wrong.` : 'All feeds are well.'
  if (!said.length) return make('section', { class: 'card verdict ship', id: 'verdict' }, make('p', { class: 'decision' }, well), make('p', { class: 'quiet' }, `Looked at every 5 s; told ${ago(found.told_ms, found.at_ms)}.`))
  return make('section', { class: 'card verdict stop', id: 'verdict' }, make('p', { class: 'decision' }, said.length === 1 ? 'One thing is wrong.' : `${said.length} things are wrong.`), make('ul', { class: 'rows' }, said.map((text) => make('li', {}, text))))
}

// ── a feed ───────────────────────────────────────────────────────────────────────────────────────────────────────

const COLUMNS = [
  { label: 'Pull', value: (pull) => pull.began_ms, cell: (pull) => moment(pull.began_ms).slice(5) },
  { label: '', cell: (pull) => chip(pull.outcome) },
  { label: 'Took', number: true, value: (pull) => pull.ended_ms - pull.began_ms, cell: (pull) => lasting(pull.ended_ms - pull.began_ms) },
  ...[['found', 'Found'], ['put', 'Put'], ['stock', 'Stock'], ['deleted', 'Deleted'], ['left_out', 'Left out'], ['refused', 'Refused']]
    .map(([name, label]) => ({ label, number: true, value: (pull) => pull[name], cell: (pull) => count(pull[name]) })),
]

const place = (fault) => `${fault.page > 1 ? `page ${fault.page}, ` : ''}${fault.line ? `line ${fault.line}` : 'the gateway'}${fault.item_id === null ? '' : `, item ${fault.item_id}`}`

function faults(feed) {
  if (!feed.faults.length) return null
  return make('details', { 'data-faults': feed.name }, make('summary', {}, `What was wrong (${feed.faults.length})`),
    make('ul', { class: 'rows' }, feed.faults.map((fault) => make('li', {}, make('b', {}, place(fault)), ` ${fault.left_out ? 'left out: ' : ''}${fault.reason}`))),
    make('p', { class: 'quiet' }, 'The first of them. All that are kept:'), copyable(`nextclick feed show ${feed.name} --faults 1000`))
}

function card(feed, now) {
  const last = feed.pulls[0]
  const state = feed.running ? make('span', { class: 'state running' }, 'is pulled now') : last ? chip(last.outcome) : make('span', { class: 'state' }, 'not pulled yet')
  const made = section(feed.name, make('div', { class: 'line' }, make('code', {}, feed.source), state),
    make('p', { class: 'quiet' }, `${feed.format}, every ${lasting(1000 * feed.every_s)}. Well ${ago(feed.well_ms, now)}; next ${feed.next_ms > now ? `in ${lasting(feed.next_ms - now)}` : 'now'}.`),
    last?.outcome === 'held' ? make('div', {}, make('p', {}, 'Look at it, then:'), copyable(`nextclick feed confirm ${feed.name}`)) : null,
    feed.pulls.length ? table({ caption: `Pulls of ${feed.name}`, columns: COLUMNS, rows: feed.pulls }) : null, faults(feed))
  made.dataset.feed = feed.name
  return made
}

function none() {
  return notice('There are no feeds', make('p', {}, 'A feed is a file or an address with all items of a shop, which is pulled again and again:'),
    copyable('nextclick feed add shop https://shop.example/merchant.xml --format merchant-xml --every PT1H'),
    make('p', { class: 'quiet' }, 'Formats: merchant-xml, rss, csv, jsonl, shopify, woocommerce. What is pulled by hand, without nextclick up or nextclick feed run, is not shown here.'))
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

let seen = ''

async function load() {
  const found = await call('GET', '/api/feeds')
  const now = JSON.stringify({ ...found, at_ms: Math.floor(found.at_ms / 60_000) })
  if (now === seen || (seen && $('feeds').contains(document.activeElement))) return // whoever reads or copies is not interrupted
  seen = now
  const open = [...document.querySelectorAll('details[open]')].map((one) => one.dataset.faults)
  $('feeds').replaceChildren(...(found.feeds.length ? [verdict(found), ...found.feeds.map((feed) => card(feed, found.at_ms))] : [none()]))
  for (const one of document.querySelectorAll('details')) one.open = open.includes(one.dataset.faults)
}

$('main').replaceChildren(make('h1', {}, 'Feeds'), make('div', { id: 'feeds', class: 'stack' }))
await doing(load)
every(EACH, load)
