// The browser tag: events, what was seen, recommendations and <nextclick-list>. docs/tag.md has every option.
// ES2018, no dependency. What the gateway serves is made of this file by `make tag` (nextclick.min.js), under 4 KB gzipped.
// No `const [a] = ...` or `const { a } = ...` stands in a block: the minifier may move it before what it reads.
(() => {
  const script = document.currentScript
  const stub = window.nextclick
  if (stub && stub.calls) return // the tag stands twice on the page
  const options = {
    url: script ? new URL(script.src).origin : '',
    key: '',
    storage: 'cookie', // or memory
    cookie: 'nextclick',
    domain: '',
    minutes: 30,
    consent: 'given', // or required
    ...(script && script.dataset),
  }
  const LEFT = 'nextclick-left' // in localStorage: events that could not be sent
  const CLICKED = 'nextclick-clicked' // the last view that a list sent
  const MOST = 200 // events that wait
  const BATCH = 20
  let allowed // by the visitor: true, false, or null as long as nothing was said where consent is required
  let own = '' // the session id that the page gave
  let token = '' // of the newest click in the log
  let user
  let queue = [] // not answered yet
  let flying = [] // of them those that are on their way
  let recent = [] // without consent: this page's events, which go with its requests and are kept nowhere
  let left = false // localStorage may hold some of the queue
  let skew = 0 // of this clock, in milliseconds
  let pause = 0
  let again = 0 // the timer of the next try
  let sending = Promise.resolve()
  let id

  const warn = (said) => console.warn('nextclick: ' + said)
  const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, 0)).join('')
  id = newId()

  // ── what is stored: a cookie with the session's id and the newest token; events that could not be sent ──

  const kept = (name) => {
    try {
      return [].concat(JSON.parse(localStorage[name])).filter(Boolean)
    } catch (error) {
      return []
    }
  }
  const keep = (name, events) => {
    try {
      if (allowed && options.storage === 'cookie' && events.length) localStorage[name] = JSON.stringify(events)
      else delete localStorage[name]
    } catch (error) {} // blocked, or full
  }
  const setCookie = (value, seconds) => {
    try {
      document.cookie = `${options.cookie}=${value};Path=/;Max-Age=${seconds};SameSite=Lax` + (location.protocol === 'https:' ? ';Secure' : '') + (options.domain && ';Domain=' + options.domain)
    } catch (error) {} // a sandboxed frame
  }
  // Returns the session's id, and keeps it, with the newest token, for as long as a session lives.
  const session = (newest) => {
    if (allowed && !own && options.storage === 'cookie') {
      try {
        const found = `; ${document.cookie}`.split(`; ${options.cookie}=`)[1]
        if (found) [id, token = token] = found.split(';')[0].split('.')
      } catch (error) {}
      token = newest || token
      setCookie(token ? id + '.' + token : id, options.minutes * 60)
    }
    token = newest || token
    return own || id
  }
  const forget = () => {
    queue = []
    recent = []
    seen = []
    own = token = ''
    user = undefined
    id = newId()
    setCookie('', 0)
    try {
      delete localStorage[LEFT]
      delete localStorage[CLICKED]
    } catch (error) {}
  }

  // ── requests: none has a header for which a browser would ask first (CORS) ──

  const isOpen = () => !options.key || options.key.startsWith('ncp_')
  const address = (path) => options.url + path + (options.key && isOpen() ? '?key=' + options.key : '')
  // Returns the answer's document with its `status`; without one where no answer came.
  const post = async (path, document, keepalive) => {
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(), 10000)
    const headers = { 'Content-Type': 'text/plain', ...(isOpen() ? {} : { Authorization: 'Bearer ' + options.key }) }
    const body = JSON.stringify(document)
    try {
      const answer = await fetch(address(path), { method: 'POST', body, headers, credentials: 'omit', signal: stop.signal, keepalive: keepalive && body.length < 16000 })
      const found = await answer.json()
      found.status = answer.status
      found.wait = answer.headers.get('Retry-After')
      found.off = Date.parse(answer.headers.get('Date')) - Date.now()
      if (!answer.ok) warn(found.detail)
      return found
    } catch (error) {
      return {}
    } finally {
      clearTimeout(timer)
    }
  }

  // ── events ──

  // Writes what waits, beside what other pages left there, without `gone`.
  const keepLeft = (gone) => {
    const ids = gone.concat(queue).map((event) => event.event_id)
    left = left || queue.length
    keep(LEFT, kept(LEFT).filter((event) => !ids.includes(event.event_id)).concat(queue).slice(-MOST))
  }
  const sendBatch = async () => {
    if (!queue.length || !allowed) return
    clearTimeout(again)
    again = 0
    const batch = flying = queue.slice(0, BATCH)
    const answer = await post('/api/events', batch[1] ? batch : batch[0], true)
    flying = []
    if (!queue.includes(batch[0])) return // forgotten meanwhile
    const rejected = [].concat(answer.rejected || []).filter(Boolean)
    // What no gateway says took nothing for sure: half of an answer, or the page of a proxy.
    if (!answer.status || answer.status === 408 || answer.status === 429 || answer.status > 499 || (answer.status < 300 && !(answer.accepted >= 0))) {
      keepLeft([])
      pause = Math.min(pause * 2 || 1000, 60000)
      again = setTimeout(flush, Math.min(Math.max(pause, answer.wait * 1000 || 0), 36e5))
      return
    }
    pause = 0
    queue = queue.filter((event) => !batch.includes(event))
    const moved = answer.off - skew
    for (const one of rejected) {
      const event = batch[one.index]
      if (event && /^(too_old|future)/.test(one.reason) && Math.abs(moved) > 60000) {
        queue.push({ ...event, ts: event.ts + moved }) // this clock is wrong: once more, by the gateway's
        skew = answer.off
      } else warn(one.reason)
    }
    if (left) keepLeft(batch)
    session(answer.token)
    if (batch.some((event) => event.type !== 'impression')) setTimeout(refresh)
    return queue.length ? sendBatch() : answer
  }
  const flush = () => (sending = sending.then(sendBatch))
  const add = (type, fields) => {
    const event = { v: 1, event_id: newId(), type, session_id: session(), ts: Date.now() + skew, user_id: user, ...fields }
    if (event.order_id && !fields.event_id) event.event_id = [type, event.order_id, event.item_id].join('-').slice(-256) // a page that is loaded again
    if (type === 'view') {
      const clicked = kept(CLICKED)[0] || {}
      if (event.request_id) keep(CLICKED, [event])
      else if (clicked.item_id === event.item_id && clicked.session_id === event.session_id && event.ts - clicked.ts < 30000) Object.assign(event, clicked) // the page of what was clicked in a list: the same view
    }
    const plain = JSON.parse(JSON.stringify(event)) // as it is now; throws here what cannot be sent
    if (allowed) queue = queue.concat(plain).slice(-MOST)
    else {
      recent = recent.concat(plain).slice(-100)
      setTimeout(refresh)
    }
  }
  // Resolves to the gateway's answer; to nothing where there was none.
  const track = (type, items, more) => {
    for (const one of [].concat(items)) add(type, { ...(typeof one === 'object' ? one : { item_id: String(one) }), ...more })
    return new Promise((done) => setTimeout(() => done(again ? undefined : flush())))
  }
  const leave = () => {
    sendSeen()
    const rest = queue.filter((event) => !flying.includes(event))
    if (!rest.length || !allowed) return
    if (!pause && navigator.onLine !== false && isOpen() && navigator.sendBeacon(address('/api/events'), JSON.stringify(rest))) queue = flying
    else keepLeft([])
  }

  // ── what was seen: half of it (or half of the window), for a second, while the page is in front ──

  const shown = new Map() // element -> {item_id, request_id, timer}
  let seen = [] // the same, without the elements
  const sendSeen = () => {
    for (const request_id of new Set(seen.map((one) => one.request_id))) {
      const items = seen.filter((one) => one.request_id === request_id).map((one) => one.item_id)
      add('impression', { items, request_id, context: { seen: true } })
    }
    seen = []
  }
  const observer = new IntersectionObserver((entries) => {
    for (const { target, intersectionRatio, intersectionRect } of entries) {
      const one = shown.get(target)
      if (!one) continue
      if (document.hidden || (intersectionRatio < 0.5 && intersectionRect.height < innerHeight / 2)) one.timer = clearTimeout(one.timer)
      else if (!one.timer) {
        one.timer = setTimeout(() => {
          unwatch(target)
          if (allowed && seen.push(one) === 1) setTimeout(() => (sendSeen(), again || flush()), 1000)
        }, 1000)
      }
    }
  }, { threshold: [0, 0.25, 0.5, 0.75] })
  const unwatch = (element) => {
    clearTimeout((shown.get(element) || {}).timer)
    observer.unobserve(element)
    shown.delete(element)
  }
  const watch = (element, { item_id, request_id }) => {
    for (const one of shown.keys()) if (one === element || !one.isConnected) unwatch(one)
    shown.set(element, { item_id, request_id })
    observer.observe(element)
  }

  // ── recommendations ──

  // `more` returns the request's fields once everything that happened before has been sent.
  const answerOf = async (path, more) => {
    if (allowed && !again) await flush()
    const asked = more()
    for (let turn = 0; ; turn++) {
      const who = allowed ? { session_id: session(), user_id: user, after: token || undefined } : { session_id: session(), consent: false, recent_events: recent }
      const answer = await post('/api/' + path, { ...who, ...asked })
      if (answer.status === 422 && token) token = '' // of a deployment of before
      else if (answer.status !== 200) throw Object.assign(new Error(answer.detail || 'no answer from ' + options.url), { status: answer.status })
      else if (turn > 1 || !(answer.lists || [answer]).some((one) => one.stale)) return answer
    }
  }
  const alone = (scenario, more) => answerOf('recommendations/' + encodeURIComponent(scenario), more)
  // Lists of one moment ask together, and no item stands in two of them; each asks alone where that is refused.
  let page = []
  const together = (scenario, more) => new Promise((done) => page.push([scenario, more, done]) > 1 || setTimeout(() => {
    const all = page
    page = []
    const each = () => all.forEach((one) => one[2](alone(one[0], one[1])))
    if (!all[1]) each()
    else answerOf('pages', () => ({ lists: all.map((one) => ({ scenario: one[0], ...one[1]() })) })).then((answer) => all.forEach((one, at) => one[2](answer.lists[at]))).catch(each)
  }))
  const recommend = (scenario, asked, done) => {
    const answer = alone(scenario, () => asked)
    return done ? answer.then(done, (error) => warn(error.message)) : answer
  }

  // ── <nextclick-list scenario="homepage"><template>...</template></nextclick-list> ──
  // What items hold is anybody's text. It becomes text, or the value of an attribute that is named here, or an address:
  // of a link or a picture alone, and only http or https.

  const FIELD = /{([^{}]+)}/g
  const lists = new Set()
  const refresh = () => lists.forEach((list) => list.due || (allowed && list.after === token) || list.ask())
  // Returns [element, name, pattern] of every attribute nc-NAME.
  const bound = (root) => [].concat(...[root, ...root.querySelectorAll('*')].map((element) =>
    [...(element.attributes || [])].filter(({ name }) => /^nc-(?!act)/.test(name)).map(({ name, value }) => [element, name.slice(3), value])))
  const bind = (node, values) => {
    for (const [element, name, pattern] of bound(node)) {
      const tag = { href: 'a', src: 'img' }[name]
      const text = pattern.replace(FIELD, (_, field, at) => {
        const value = values[field] == null ? '' : values[field]
        return tag && at ? encodeURIComponent(value) : value
      })
      if (tag) {
        let url
        try {
          url = tag === element.localName && text && new URL(text, document.baseURI)
        } catch (error) {}
        if (url && /^https?:$/.test(url.protocol)) element.setAttribute(name, url.href)
        else element.removeAttribute(name)
      } else if (name === 'text' && !/^(script|style)$/.test(element.localName)) element.textContent = text
      else if (/^(alt|title|value|(aria|data)-.+)$/.test(name)) element.setAttribute(name, text)
    }
  }
  class List extends HTMLElement {
    static get observedAttributes() {
      return ['scenario', 'item-id', 'limit', 'request']
    }
    connectedCallback() {
      lists.add(this)
      if (!this.nodes) this.addEventListener('click', this.clicked)
      this.nodes = this.nodes || new Map()
      this.ask()
    }
    disconnectedCallback() {
      lists.delete(this)
    }
    attributeChangedCallback() {
      if (this.nodes) this.ask()
    }
    ask() {
      this.due = this.due || setTimeout(() => this.answer().catch((error) => {
        this.due = 0
        this.after = null
        this.setAttribute('state', 'failed')
        warn(error.message)
      }))
    }
    async answer() {
      await ready
      const template = this.querySelector('template')
      if (!template) throw new Error('expected a <template> in <nextclick-list>, got none')
      const turn = this.turn = {}
      const own = JSON.parse(this.getAttribute('request')) // may be of what all lists of a page share
      const answer = await (own ? alone : together)(this.getAttribute('scenario') || 'homepage', () => {
        this.due = 0
        this.after = token
        const fields = new Set()
        for (const [, , pattern] of bound(template.content)) pattern.replace(FIELD, (_, field) => /^(item_id|position|reason|group|score)$/.test(field) || fields.add(field))
        if (fields.has('price') && this.getAttribute('currency')) fields.add('attributes.currency')
        return {
          limit: +this.getAttribute('limit') || 8,
          item_id: this.getAttribute('item-id') || undefined,
          fields: [...fields],
          ...own,
        }
      })
      if (turn === this.turn) this.show(answer, template)
    }
    show(answer, template) {
      const focused = document.activeElement
      const before = this.nodes
      this.nodes = new Map()
      before.forEach((node, item) => answer.recommendations.some((one) => one.item_id === item) || node.remove())
      let last = template
      for (const one of answer.recommendations) {
        const node = before.get(one.item_id) || document.importNode(template.content, true).firstElementChild
        const values = { ...one.item, ...one }
        let currency = this.getAttribute('currency')
        if (currency && /^[A-Z]{3}$/.test(values['attributes.currency'])) currency = values['attributes.currency']
        if (currency && values.price != null) values.price = values.price.toLocaleString(document.documentElement.lang || undefined, { style: 'currency', currency })
        bind(node, values)
        if (last.nextElementSibling !== node) last.after(node)
        this.nodes.set(one.item_id, last = node)
        node.nextclick = { item_id: one.item_id, request_id: answer.request_id }
        watch(node, node.nextclick)
      }
      if (this.contains(focused)) focused.focus({ preventScroll: true })
      this.setAttribute('state', last === template ? 'empty' : 'ready')
      this.dispatchEvent(new CustomEvent('nextclick-shown', { bubbles: true, detail: answer }))
    }
    clicked({ target }) {
      const act = target.closest('[nc-act]')
      for (let node = target; node && node !== this; node = node.parentNode) {
        if (node.nextclick) track(act ? act.getAttribute('nc-act') : 'view', node.nextclick)
      }
    }
  }

  // ── the page's calls ──

  const consent = (given) => {
    if (given && !allowed) {
      const waited = allowed === null ? recent : []
      allowed = true
      recent = []
      queue = kept(LEFT)
      left = queue.length
      queue = queue.concat(waited.map((event) => ({ ...event, session_id: session() })))
      flush()
      refresh()
    } else if (!given) {
      allowed = false
      forget()
    }
  }
  const calls = {
    __proto__: null,
    init: (given) => void Object.assign(options, given),
    consent,
    user: (given) => void (user = given || undefined),
    session: (given) => ((own = given || own), session()),
    forget,
    recommend,
    watch,
  }
  const call = (name, ...rest) => (calls[name] || track.bind(null, name))(...rest)
  const ready = new Promise((done) => (document.readyState === 'loading' ? document.addEventListener('DOMContentLoaded', done) : done()))
  const waiting = [...((stub && stub.q) || [])].map((one) => [...one])
  call.calls = calls
  window.nextclick = call
  // Options and consent first: nothing is stored before they are known.
  for (const [name, given] of waiting) if (name === 'init') calls.init(given)
  allowed = options.consent === 'given' ? undefined : null
  for (const [name, given] of waiting) if (name === 'consent') consent(given)
  if (allowed === undefined) consent(true)
  for (const one of waiting) if (!/^(init|consent)$/.test(one[0])) call(...one)

  addEventListener('pagehide', leave)
  addEventListener('online', () => flush().then(refresh))
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return
    session() // what the next page did
    flush().then(refresh)
  })
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) leave()
    for (const [element, one] of [...shown]) watch(element, one)
  })
  customElements.define('nextclick-list', List)
})()
