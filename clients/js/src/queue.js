/** Events sent in the background, in batches: `track` returns at once, and never throws for what the network does. */

import { check, event } from './client.js'
import { NextclickError, Unavailable, WrongUse } from './errors.js'

/** @typedef {import('./client.js').Event} Event */

/**
 * @typedef {object} QueueOptions
 * @property {number} [batch] events of one call, at most
 * @property {number} [everyMs] how long the first of them waits
 * @property {number} [most] events that wait, at most; newer ones are left out
 * @property {(event: Event, why: string) => void} [told] called with every event that is left out or refused
 */

/**
 * What waits when a page is left is sent then; when Node has nothing else to do, it is sent before it ends.
 */
export class EventQueue {
  /** @param {import('./client.js').Client} client @param {QueueOptions} [options] */
  constructor(client, { batch = 200, everyMs = 1000, most = 10_000, told = () => {} } = {}) {
    if (!(batch >= 1 && batch <= 1000)) throw new WrongUse(`expected a batch of 1 to 1000 events, got ${batch}`)
    this._client = client
    this._batch = batch
    this._everyMs = everyMs
    this._most = most
    this._told = told
    /** @type {Event[]} */
    this._waiting = []
    /** @type {Promise<boolean> | null} */
    this._sending = null
    /** @type {any} */
    this._timer = null
    this._closed = false
    this.sent = 0
    this.refused = 0
    this.dropped = 0
    this._leave = () => void this._goodbye()
    this._end = () => void this.flush()
    globalThis.addEventListener?.('pagehide', this._leave)
    /** @type {any} */ const process = /** @type {any} */ (globalThis).process
    process?.on?.('beforeExit', this._end)
  }

  /** How many wait. */
  get length() {
    return this._waiting.length
  }

  /**
   * Add an event that happens now: see `event`.
   * @param {string} type
   * @param {Parameters<typeof event>[1]} fields
   */
  track(type, fields) {
    return this.add(event(type, fields))
  }

  /**
   * Add an event; false where there is no room for it. Throws WrongUse once the queue is closed, and for what JSON
   * cannot hold.
   * @param {Event} one
   */
  add(one) {
    if (this._closed) throw new WrongUse('expected an open queue, got one that was closed: make another')
    check(one)
    if (this._waiting.length >= this._most) {
      this.dropped += 1
      this._tell(one, 'queue_full')
      return false
    }
    this._waiting.push(one)
    if (this._waiting.length >= this._batch) void this.flush()
    else this._later()
    return true
  }

  /** Send all that waits; false where it could not be sent, and still waits. @returns {Promise<boolean>} */
  async flush() {
    clearTimeout(this._timer)
    this._timer = null
    this._sending ??= this._send().finally(() => {
      this._sending = null
      if (this._waiting.length && !this._closed) this._later()
    })
    return this._sending
  }

  /** Send what waits, and stop. What could not be sent is told, and counted in `dropped`. */
  async close() {
    this._closed = true
    globalThis.removeEventListener?.('pagehide', this._leave)
    /** @type {any} */ const process = /** @type {any} */ (globalThis).process
    process?.off?.('beforeExit', this._end)
    await this.flush()
    if (this._waiting.length) await this.flush() // added while a flush was under way
    const left = this._waiting.splice(0)
    this.dropped += left.length
    for (const one of left) this._tell(one, 'not_sent_at_exit')
  }

  _later() {
    this._timer ??= setTimeout(() => void this.flush(), this._everyMs)
    this._timer?.unref?.() // Node ends all the same, and flushes before
  }

  /** @returns {Promise<boolean>} */
  async _send() {
    while (this._waiting.length) {
      const batch = this._waiting.slice(0, this._batch)
      try {
        const answer = await this._client.sendEvents(batch)
        this.sent += answer.accepted
        this.refused += answer.rejected.length
        for (const { index, reason } of answer.rejected) {
          const one = batch[index]
          if (one) this._tell(one, reason)
        }
      } catch (error) {
        if (error instanceof Unavailable) return false
        if (!(error instanceof NextclickError)) throw error
        this.refused += batch.length
        for (const one of batch) this._tell(one, error.message)
      }
      this._waiting.splice(0, batch.length)
    }
    return true
  }

  /** The page goes: send what waits without waiting for it. What is under way comes twice, and counts once. */
  async _goodbye() {
    const waiting = [...this._waiting]
    for (let at = 0; at < waiting.length; at += 50) {
      const batch = waiting.slice(at, at + 50) // a browser lets 64 KB outlive the page
      this._client.sendEvents(batch, { leaving: true }).then(
        () => (this._waiting = this._waiting.filter((one) => !batch.includes(one))),
        () => {},
      )
    }
  }

  /** @param {Event} one @param {string} why */
  _tell(one, why) {
    try {
      this._told(one, why)
    } catch {
      // what it throws is its own, and ends no sending
    }
  }
}
