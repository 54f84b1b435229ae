/** When a call that failed is made again. The moment and the chance are arguments. */

/**
 * @typedef {object} Retry
 * @property {number} attempts how often, the first counted
 * @property {number} firstMs the longest pause after the first attempt; it doubles each time
 * @property {number} longestMs of any pause that the gateway did not ask for
 * @property {number} patienceMs a `Retry-After` beyond this ends the call
 */

/** @type {Retry} */
export const RETRY = { attempts: 4, firstMs: 200, longestMs: 5000, patienceMs: 30_000 }

/** Answers after which the same call may be taken; so are those from 520 on, which content networks give. */
export const AGAIN = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * Return the milliseconds to wait after an attempt (from 1): half of what is allowed then, and a share `roll` of the
 * other half. null: it was the last, or the gateway asks for more than patience has.
 * @param {Retry} retry
 * @param {number} attempt
 * @param {number} roll in [0, 1)
 * @param {number | null} askedMs what `Retry-After` asks for
 * @returns {number | null}
 */
export function pauseMs(retry, attempt, roll, askedMs) {
  if (attempt >= retry.attempts) return null
  const allowed = Math.min(retry.longestMs, retry.firstMs * 2 ** Math.min(attempt - 1, 60))
  const pause = allowed * (0.5 + 0.5 * roll)
  if (askedMs === null) return pause
  return askedMs > retry.patienceMs ? null : Math.max(pause, askedMs)
}

/**
 * Return the milliseconds that a `Retry-After` asks for, given as seconds or as a date; null for neither.
 * @param {string | null} value
 * @param {number} nowMs
 * @returns {number | null}
 */
export function retryAfterMs(value, nowMs) {
  if (value === null) return null
  if (/^\d{1,9}$/.test(value.trim())) return 1000 * Number(value)
  const at = /[a-z]/i.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs)
}
