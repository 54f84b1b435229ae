// Requests to the gateway, and the API key that they carry.

export class Refused extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `answer ${status}`)
    this.status = status
    this.errors = document.errors ?? [] // [{pointer, detail}] of a 422
  }
}

// Where the gateway asks for API keys, this page is opened as /#key=ncs_...: what stands behind # is sent to nobody.
function keyOfAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('key')
  if (given) {
    sessionStorage.setItem('key', given)
    history.replaceState(null, '', location.pathname + location.search)
  }
  return sessionStorage.getItem('key')
}

export const key = keyOfAddress()

// Returns the answer's document. Throws Refused. `own` is a key to be used instead of the page's.
export async function request(method, path, body, own) {
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
  if (own ?? key) headers.Authorization = `Bearer ${own ?? key}`
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
  const document = await response.json()
  if (!response.ok) throw new Refused(response.status, document)
  return document
}

// The same for the shop's own requests: a key that is refused is forgotten, and the page says what to do.
export const call = (method, path, body) => withKey(() => request(method, path, body))

export async function withKey(ask) {
  try {
    return await ask()
  } catch (error) {
    if (error.status !== 401) throw error
    sessionStorage.removeItem('key')
    throw new Error(`${error.message}. Open this page as /#key=... with a key of scopes events, recommend and catalogue.`)
  }
}
