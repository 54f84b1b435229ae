/** Calls of one gateway, each tried again after a fault: events count once by their ids, all else says how things are. */

import { Refused, Unavailable, WrongUse } from './errors.js'
import { AGAIN, RETRY, pauseMs, retryAfterMs } from './retries.js'

/** @typedef {import('../types/api.js').components['schemas']} Schemas */
/** @typedef {Schemas['Event']} Event */
/** @typedef {Schemas['EventsAnswer']} EventsAnswer */
/** @typedef {Schemas['RecommendationRequest']} Question */
/** @typedef {Schemas['RecommendationAnswer']} RecommendationAnswer */
/** @typedef {Schemas['PageRequest']} PageQuestion */
/** @typedef {Schemas['PageAnswer']} PageAnswer */
/** @typedef {Schemas['Item'] & { [field: string]: unknown }} Item */
/** @typedef {Schemas['ItemLine'] & { [field: string]: unknown }} ItemLine */
/** @typedef {Schemas['CatalogueItem']} CatalogueItem */
/** @typedef {Schemas['CatalogueAnswer']} CatalogueAnswer */
/** @typedef {Schemas['UserDocument']} UserDocument */
/** @typedef {Schemas['UserAnswer']} UserAnswer */
/** @typedef {Schemas['Hide']} Hide */

/**
 * @typedef {object} Options
 * @property {string} [url] the gateway's address; of a page that is left out, its own origin
 * @property {string} [key] an API key; of a page a public one (`ncp_...`)
 * @property {Partial<import('./retries.js').Retry>} [retry]
 * @property {number} [timeoutMs] of one attempt
 * @property {typeof globalThis.fetch} [fetch]
 * @property {(ms: number) => Promise<void>} [sleep]
 */

const MOST_EVENTS = 1000
const MOST_ITEM_BYTES = 8_000_000

/**
 * Return an event that happens now, under an id of its own: however often it is sent, it counts once.
 * @param {string} type view, cart, purchase, like, impression ...
 * @param {{ session_id: string } & Partial<Event>} fields `session_id`, and `item_id` or (of an impression) `items`
 * @returns {Event}
 */
export function event(type, fields) {
  if (!fields.session_id) throw new WrongUse(`expected a session_id, got ${fields.session_id}: give the visitor one, and keep it`)
  if (type === 'impression' ? !fields.items?.length : !fields.item_id) {
    const wanted = type === 'impression' ? "items: ['sku-1', ...]" : "item_id: 'sku-1'"
    throw new WrongUse(`expected what a ${type} is of, got none: give ${wanted}`)
  }
  return /** @type {Event} */ ({ v: 1, event_id: newId(), type, ts: Date.now(), ...fields })
}

/** Throws WrongUse for an event that cannot be sent. @param {Event} one */
export function check(one) {
  json([one])
}

export class Client {
  /** @param {Options} [options] */
  constructor(options = {}) {
    const url = options.url ?? globalThis.location?.origin
    if (!url || !/^https?:\/\/[^/]/.test(url)) {
      throw new WrongUse(`expected the gateway's address, as http://localhost:8080, got ${url}`)
    }
    this._url = url.replace(/\/+$/, '')
    this._headers = options.key ? { Authorization: `Bearer ${options.key}` } : {}
    this._retry = { ...RETRY, ...options.retry }
    this._timeoutMs = options.timeoutMs ?? 10_000
    this._fetch = options.fetch ?? globalThis.fetch.bind(globalThis)
    this._sleep = options.sleep ?? ((ms) => new Promise((done) => setTimeout(done, ms)))
  }

  /**
   * Send at most 1,000 events, made by `event`. Broken ones are named in `rejected`, and the others are taken.
   * @param {Event[]} events
   * @param {{ leaving?: boolean }} [options] `leaving`: the page goes, and is not waited for
   * @returns {Promise<EventsAnswer>}
   */
  async sendEvents(events, options = {}) {
    if (!events.length || events.length > MOST_EVENTS) {
      throw new WrongUse(`expected 1 to ${MOST_EVENTS} events, got ${events.length}: send them in parts, or by a queue`)
    }
    return this._ask('POST', '/api/events', json(events), { leaving: options.leaving ?? false })
  }

  /**
   * Ask for a list. `after` is the token of `sendEvents`: the answer counts those clicks.
   * @param {string} scenario homepage, product, cart, search, email, push, or a scenario of your own
   * @param {Question} question
   * @returns {Promise<RecommendationAnswer>}
   */
  async recommend(scenario, question) {
    return this._ask('POST', `/api/recommendations/${named(scenario)}`, JSON.stringify(question))
  }

  /**
   * Ask for the lists of one page, no item twice.
   * @param {PageQuestion} question
   * @returns {Promise<PageAnswer>}
   */
  async page(question) {
    return this._ask('POST', '/api/pages', JSON.stringify(question))
  }

  /** @param {string} id @returns {Promise<CatalogueItem>} */
  async item(id) {
    return this._ask('GET', `/api/items/${named(id)}`)
  }

  /** @param {string} id @param {Item} item @returns {Promise<CatalogueAnswer>} */
  async putItem(id, item) {
    return this._ask('PUT', `/api/items/${named(id)}`, JSON.stringify(item))
  }

  /**
   * Create or replace any number of items, in as many calls as that takes.
   * @param {Iterable<ItemLine> | AsyncIterable<ItemLine>} items
   * @returns {Promise<CatalogueAnswer>}
   */
  async putItems(items) {
    /** @type {CatalogueAnswer} */
    const total = { accepted: 0, rejected: [], visible: true }
    let [lines, size, sent] = [/** @type {string[]} */ ([]), 0, 0]
    const send = async () => {
      /** @type {CatalogueAnswer} */
      const answer = await this._ask('POST', '/api/items', lines.join('\n'), { kind: 'application/x-ndjson' })
      total.accepted += answer.accepted
      total.visible &&= answer.visible
      total.rejected.push(...answer.rejected.map((one) => ({ ...one, index: one.index + sent })))
      sent += lines.length
      lines = []
      size = 0
    }
    for await (const one of items) {
      if (!one.item_id) throw new WrongUse(`expected an item with its item_id, got ${Object.keys(one).join(', ') || 'nothing'}`)
      const line = JSON.stringify(one)
      if (lines.length && size + line.length > MOST_ITEM_BYTES) await send()
      lines.push(line)
      size += line.length + 1
    }
    if (lines.length) await send()
    return total
  }

  /** @param {string} id @param {Record<string, unknown>} patch null takes a field away @returns {Promise<CatalogueAnswer>} */
  async patchItem(id, patch) {
    return this._ask('PATCH', `/api/items/${named(id)}`, JSON.stringify(patch))
  }

  /** @param {string} id @returns {Promise<CatalogueAnswer>} */
  async deleteItem(id) {
    return this._ask('DELETE', `/api/items/${named(id)}`)
  }

  /** @param {Record<string, number>} stock by item id @returns {Promise<CatalogueAnswer>} */
  async setStock(stock) {
    const body = Object.entries(stock).map(([item_id, left]) => ({ item_id, stock: left }))
    return this._ask('POST', '/api/stock', JSON.stringify(body))
  }

  /** @param {string} id @returns {Promise<UserDocument>} */
  async user(id) {
    return this._ask('GET', `/api/users/${named(id)}`)
  }

  /** @param {string} id @param {UserDocument} user @returns {Promise<UserAnswer>} */
  async putUser(id, user) {
    return this._ask('PUT', `/api/users/${named(id)}`, JSON.stringify(user))
  }

  /** @param {string} id @param {Record<string, unknown>} patch @returns {Promise<UserAnswer>} */
  async patchUser(id, patch) {
    return this._ask('PATCH', `/api/users/${named(id)}`, JSON.stringify(patch))
  }

  /** Forget a user. @param {string} id @returns {Promise<UserAnswer>} */
  async deleteUser(id) {
    return this._ask('DELETE', `/api/users/${named(id)}`)
  }

  /** @param {string} id @param {Hide} what @returns {Promise<UserAnswer>} */
  async doNotShow(id, what) {
    return this._ask('POST', `/api/users/${named(id)}/do-not-show`, JSON.stringify(what))
  }

  /** @param {string} id @param {Hide} what @returns {Promise<UserAnswer>} */
  async showAgain(id, what) {
    return this._ask('DELETE', `/api/users/${named(id)}/do-not-show`, JSON.stringify(what))
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} [body]
   * @param {{ kind?: string, leaving?: boolean }} [options]
   * @returns {Promise<any>}
   */
  async _ask(method, path, body, options = {}) {
    const what = `${method} ${path}`
    for (let attempt = 1; ; attempt += 1) {
      const { status, text, asked, fault } = await this._attempt(method, path, body, options)
      const taken = status >= 200 && status < 300
      const answer = taken ? answerOf(method, path, text) : null
      if (answer) return answer
      if (status && !taken && !AGAIN.has(status) && status < 520) throw new Refused(what, status, text)
      const askedMs = retryAfterMs(asked, Date.now())
      const pause = options.leaving ? null : pauseMs(this._retry, attempt, Math.random(), askedMs)
      if (pause === null) {
        const wait = askedMs === null ? '' : ` (it asks for ${Math.round(askedMs / 1000)} s)`
        const odd = taken ? "what no gateway answers (is this address a gateway's?): " : ''
        throw new Unavailable(what, attempt, status ? `${status}: ${odd}${text.slice(0, 300)}${wait}` : fault, status || null)
      }
      await this._sleep(pause)
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string | undefined} body
   * @param {{ kind?: string, leaving?: boolean }} options
   */
  async _attempt(method, path, body, { kind = 'application/json', leaving = false }) {
    const headers = body === undefined ? this._headers : { ...this._headers, 'Content-Type': kind }
    const gaveUp = new AbortController()
    const timer = setTimeout(() => gaveUp.abort(), this._timeoutMs)
    try {
      const asked = { method, headers, signal: gaveUp.signal, keepalive: leaving, ...(body === undefined ? {} : { body }) }
      const answer = await this._fetch(this._url + path, asked)
      return { status: answer.status, text: await answer.text(), asked: answer.headers.get('Retry-After'), fault: '' }
    } catch (error) {
      const fault = gaveUp.signal.aborted ? `no answer within ${this._timeoutMs} ms` : String(error)
      return { status: 0, text: '', asked: null, fault }
    } finally {
      clearTimeout(timer)
    }
  }
}

/**
 * Return what a gateway answered; null for what it does not say: half of it, or the page of a proxy. Then nothing was
 * taken for sure.
 * @param {string} method
 * @param {string} path
 * @param {string} text
 * @returns {any}
 */
function answerOf(method, path, text) {
  try {
    const answer = text ? JSON.parse(text) : {}
    if (!answer || typeof answer !== 'object' || Array.isArray(answer)) return null
    const counts = method === 'POST' && (path === '/api/events' || path === '/api/items')
    return !counts || (Number.isInteger(answer.accepted) && answer.rejected.every(isRejected)) ? answer : null
  } catch {
    return null
  }
}

/** @param {any} one */
function isRejected(one) {
  return Number.isInteger(one.index) && 'reason' in one
}

/** @param {unknown} document */
function json(document) {
  try {
    return JSON.stringify(document)
  } catch (error) {
    throw new WrongUse(`expected what JSON can hold, got ${error}`)
  }
}

/** @param {string} name */
function named(name) {
  if (!name) throw new WrongUse(`expected a name or an id, got ${JSON.stringify(name)}`)
  if (name === '.' || name === '..') throw new WrongUse(`expected an id that an address can hold, got ${name}: fetch takes it away`)
  return encodeURIComponent(name)
}

/** crypto.randomUUID is there in secure contexts alone. */
function newId() {
  const bytes = globalThis.crypto?.getRandomValues(new Uint8Array(16)) ?? Array.from({ length: 16 }, () => Math.random() * 256)
  return Array.from(bytes, (byte) => Math.floor(byte).toString(16).padStart(2, '0')).join('')
}
