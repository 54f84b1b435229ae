/** What goes wrong, as errors that say what was expected, what came, and what to do. */

/** @type {Record<number, string>} */
const ADVICE = {
  400: 'send JSON in UTF-8',
  401: "give the client a key: new Client({ url, key: 'nc_...' })",
  403: 'use a key of the scope that is named there; of a page, a public key of its origin',
  404: 'look at the name, and at the url of the client: it ends before /api',
  413: 'send it in parts',
  422: 'mend the fields that are named',
  507: "delete items or users, or raise the bound in the gateway's settings",
}

/** Whatever this client throws on purpose. */
export class NextclickError extends Error {
  name = 'NextclickError'
}

/** Arguments that make no call: nothing was sent. */
export class WrongUse extends NextclickError {
  name = 'WrongUse'
}

/** The gateway does not take the call; sending it again changes nothing. */
export class Refused extends NextclickError {
  name = 'Refused'

  /**
   * @param {string} what method and path
   * @param {number} status of HTTP
   * @param {string} body
   */
  constructor(what, status, body) {
    const { detail, fields } = problemOf(body)
    const said = fields.map((one) => `${one.pointer || 'body'}: ${one.detail}`).join('; ') || detail
    super(`${what}: expected a 2xx answer, got ${status}: ${said}. What to do: ${ADVICE[status] ?? "look into the gateway's log"}`)
    this.status = status
    this.detail = detail
    /** @type {{ pointer: string, detail: string }[]} JSON pointers into the body, and what is wrong there */
    this.fields = fields
  }
}

/** No answer, or no room, at any attempt; sending it again later may help, and counts once. */
export class Unavailable extends NextclickError {
  name = 'Unavailable'

  /**
   * @param {string} what method and path
   * @param {number} attempts
   * @param {string} got
   * @param {number | null} status of the last answer; null where none came
   */
  constructor(what, attempts, got, status) {
    super(
      `${what}: expected an answer, got ${got} (tried ${attempts === 1 ? 'once' : `${attempts} times`}). ` +
        'What to do: see that the gateway runs and is ready (GET /readyz), then send it again: events and items count once',
    )
    this.attempts = attempts
    this.status = status
  }
}

/**
 * @param {string} body
 * @returns {{ detail: string, fields: { pointer: string, detail: string }[] }}
 */
function problemOf(body) {
  try {
    const problem = JSON.parse(body)
    const fields = Array.isArray(problem.errors) ? problem.errors.filter((/** @type {any} */ one) => one?.detail) : []
    return { detail: String(problem.detail ?? problem.title ?? ''), fields }
  } catch {
    return { detail: body.slice(0, 300), fields: [] }
  }
}
