// Numbers and times as people read them. What is not known (null) is a dash.

export const DASH = '–'
const LOCALE = 'en'
const number = (digits) => new Intl.NumberFormat(LOCALE, { maximumFractionDigits: digits })
const whole = number(0)
const short = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 4 })
const CODE = /^[A-Z]{3}$/
const known = (value) => typeof value === 'number' && Number.isFinite(value)

export const count = (value) => (known(value) ? (Number.isInteger(value) ? whole : number(1)).format(value) : DASH)
export const plain = (value) => (known(value) ? short.format(value) : DASH)

// 0.1234: 12.34%. Rates below a tenth get two digits, as click rates do.
export const percent = (value) =>
  known(value) ? `${(100 * value).toFixed(Math.abs(value) < 0.1 ? 2 : 1)}%` : DASH

// A change: with its sign, and a true minus.
export function change(value, digits = 1) {
  if (!known(value)) return DASH
  const text = Math.abs(100 * value).toFixed(digits)
  return `${Number(text) === 0 ? '±' : value < 0 ? '−' : '+'}${text}%`
}

export const ends = ([low, high]) => `${low === null ? '−∞' : change(low)} to ${high === null ? '∞' : change(high)}`

export function money(value, currency) {
  if (!known(value)) return DASH
  if (!CODE.test(currency ?? '') || currency === 'XXX') return number(2).format(value)
  const digits = Math.abs(value) >= 10_000 ? { maximumFractionDigits: 0 } : {}
  return new Intl.NumberFormat(LOCALE, { style: 'currency', currency, ...digits }).format(value)
}

const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumSignificantDigits: 3 })

// The same for the ticks of an axis: in few letters.
export const tickOf = (value) => (known(value) ? compact.format(value) : '')

export const chance = (p) => (known(p) ? (p < 0.0001 ? 'under .0001' : p.toFixed(4)) : DASH)

// A metric's figure: a rate of two counts, money, or a count a unit.
export function figure(metric, value, currency) {
  if (metric.startsWith('revenue')) return metric.includes('/') || !known(value) ? plain(value) : money(value, currency)
  return metric.includes('/') ? percent(value) : plain(value)
}

const STEPS = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1_000, 's']]

// A length of time by its two largest units: 3 d 4 h.
export function lasting(ms) {
  const at = STEPS.findIndex(([size]) => ms >= size)
  if (at < 0) return '0 s'
  const [size, unit] = STEPS[at]
  const rest = STEPS[at + 1]
  const more = rest ? Math.floor((ms % size) / rest[0]) : 0
  return `${Math.floor(ms / size)} ${unit}${more ? ` ${more} ${rest[1]}` : ''}`
}

export function moment(ms) {
  return known(ms) ? `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC` : DASH
}
