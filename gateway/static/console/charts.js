// Charts: lines over time (uPlot), bars, and intervals side by side (a forest plot).

import { make } from './elements.js'
import { change, ends } from './numbers.js'

const HEIGHT = 240
const LINES = ['--line-1', '--line-2', '--line-3', '--line-4']
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
const faint = (name) => `${colour(name)}2b` // of #rrggbb
const dark = matchMedia('(prefers-color-scheme: dark)')

// ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────

const MINUTE = 60 // in seconds, as times of charts are
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const TICKS = [...[1, 2, 5, 10, 30].map((n) => n * MINUTE), ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 7, 14, 28].map((n) => n * DAY)]
const dayText = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', timeZone: 'UTC' })

function tickText(at, step) {
  const date = new Date(1000 * at)
  return step >= DAY || at % DAY === 0 ? dayText.format(date) : date.toISOString().slice(11, 16)
}

// `times` in seconds; `lines` [{label, values, low?, high?}], null where nothing is known; `format` a value's text,
// `tick` that of the axis; `step` seconds between times, where they are even.
export function lineChart({ caption, times, lines, format, tick = format, step = 0, zero = false }) {
  const host = make('div', { class: 'chart', role: 'img', 'aria-label': caption })
  const series = [{ label: 'UTC', value: (_u, at) => (at === null ? '' : new Date(1000 * at).toISOString().slice(...(step && step < MINUTE ? [11, 19] : [0, 16])).replace('T', ' ')) }]
  const columns = [times]
  const bands = []
  lines.forEach((line, at) => {
    const name = LINES[at % LINES.length]
    const shown = { label: line.label, stroke: () => colour(name), width: 2, points: { show: times.length < 40, size: 5 }, value: (_u, value) => format(value) }
    series.push(shown)
    columns.push(line.values)
    if (!line.low) return
    const edge = { stroke: () => faint(name), width: 1, points: { show: false }, value: (_u, value) => format(value) }
    series.push({ ...edge, label: 'from' }, { ...edge, label: 'to' })
    columns.push(line.low, line.high)
    bands.push({ series: [series.length - 1, series.length - 2], fill: () => faint(name) })
  })
  const axis = { stroke: () => colour('--quiet'), grid: { stroke: () => colour('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' }
  const options = {
    width: 320, height: HEIGHT, series, bands,
    tzDate: (at) => uPlot.tzDate(new Date(1000 * at), 'Etc/UTC'),
    axes: [
      { ...axis, space: 64, incrs: TICKS.filter((one) => one >= step), values: (_u, ticks, _axis, _space, each) => ticks.map((at) => tickText(at, each)) },
      { ...axis, size: 64, values: (_u, ticks) => ticks.map(tick) },
    ],
    scales: { y: { range: (_u, low, high) => range(low, high) } },
    cursor: { drag: { x: false, y: false } },
    hooks: { draw: zero ? [zeroLine] : [], setCursor: [(u) => u.cursor.idx ?? last(u)] },
  }
  const last = (u) => u.setLegend({ idx: times.length - 1 }) // where nobody points, the legend tells the last values
  const plot = new uPlot(options, columns, host)
  last(plot)
  const fit = () => host.clientWidth && plot.setSize({ width: host.clientWidth, height: HEIGHT })
  new ResizeObserver(fit).observe(host)
  dark.addEventListener('change', () => plot.redraw(false, true))
  host.put = (times_, values) => { // new values of the same lines, without edges
    plot.setData([times_, ...values])
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) last(plot)
  }
  return host
}

function range(low, high) {
  if (low === null || high === null) return [0, 1]
  const from = Math.min(low, 0)
  const to = Math.max(high, 0)
  const room = (to - from || 1) * 0.06
  return [from < 0 ? from - room : 0, to + room]
}

function zeroLine(plot) {
  const y = Math.round(plot.valToPos(0, 'y', true))
  const { left, width } = plot.bbox
  plot.ctx.save()
  plot.ctx.strokeStyle = colour('--ink')
  plot.ctx.lineWidth = devicePixelRatio
  plot.ctx.setLineDash([4, 4])
  plot.ctx.beginPath()
  plot.ctx.moveTo(left, y)
  plot.ctx.lineTo(left + width, y)
  plot.ctx.stroke()
  plot.ctx.restore()
}

// ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────

const STEPS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
const WIDEST = [-1, 2] // what lies beyond is cut off: an early interval must not make all others points

// Rows [{label, note, lift, ends, side}] on one axis of lifts; side 1: better, -1: worse, 0: not known. `scale`: rows
// whose ends the axis is to hold.
export function forest(rows, scale = rows) {
  const edges = scale.flatMap((row) => [row.lift, ...row.ends]).filter((one) => typeof one === 'number')
  const low = Math.max(WIDEST[0], Math.min(0, ...edges))
  const high = Math.min(WIDEST[1], Math.max(0, ...edges))
  const room = (high - low || 0.1) * 0.05
  const from = low - room
  const to = high + room
  const place = (value) => `${(100 * (Math.min(to, Math.max(from, value)) - from)) / (to - from)}%`
  const step = STEPS.find((one) => (to - from) / one <= 5) ?? 1
  const ticks = []
  for (let at = Math.ceil(from / step); at * step <= to; at++) ticks.push(at * step)
  const beyond = (values) => [values.some((value) => value < from) ? '0%' : null, values.some((value) => value > to) ? '100%' : null].filter(Boolean)
  const list = make('ul', { class: 'forest' }, rows.map((row) => forestRow(row, place, ticks, beyond)))
  const axis = make('li', { class: 'axis', 'aria-hidden': 'true' }, make('span'), make('span', { class: 'plot' }, ticks.map((tick) =>
    placed(make('span', { class: 'tick' }, change(tick, step < 0.01 ? 1 : 0)), { '--at': place(tick) }))), make('span'))
  list.append(axis)
  return list
}

function forestRow(row, place, ticks, beyond) {
  const [low, high] = row.ends
  const known = typeof row.lift === 'number'
  const plot = make('span', { class: 'plot', 'aria-hidden': 'true' }, ticks.map((tick) =>
    placed(make('span', { class: Math.abs(tick) < 1e-9 ? 'zero' : 'grid' }), { '--at': place(tick) })))
  if (known && (low !== null || high !== null)) {
    plot.append(placed(make('span', { class: 'reach' }), { '--at': place(low ?? -Infinity), '--to': place(high ?? Infinity) }))
  }
  if (known) plot.append(placed(make('span', { class: 'dot' }), { '--at': place(row.lift) }))
  const told = known ? [row.lift, ...row.ends].filter((value) => typeof value === 'number') : []
  plot.append(...beyond(told).map((at) => placed(make('span', { class: 'beyond' }, at === '0%' ? '‹' : '›'), { '--at': at }))) // it goes on beyond the axis
  const name = make('span', { class: 'of' }, make('b', {}, row.label), row.note ? make('small', {}, row.note) : null)
  const both = low === null && high === null
  const numbers = make('span', { class: 'numbers' }, make('b', {}, change(row.lift)), make('small', {}, both ? 'no interval yet' : ends(row.ends)))
  const side = row.side > 0 ? 'better' : row.side < 0 ? 'worse' : ''
  return make('li', { class: side }, name, plot, numbers)
}

// ── bars ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// Rows [{label, value, text, note}] as bars from 0.
export function bars(caption, rows) {
  const most = Math.max(...rows.map((row) => row.value ?? 0), 1e-12)
  return make('ul', { class: 'bars', 'aria-label': caption }, rows.map((row) =>
    make('li', {}, make('span', { class: 'of' }, row.label),
      make('span', { class: 'plot', 'aria-hidden': 'true' }, placed(make('span', { class: 'bar' }), { '--to': `${(100 * (row.value ?? 0)) / most}%` })),
      make('span', { class: 'numbers' }, make('b', {}, row.text), make('small', {}, row.note)))))
}

function placed(element, places) {
  for (const [name, value] of Object.entries(places)) element.style.setProperty(name, value)
  return element
}
