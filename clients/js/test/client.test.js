/** The client against a real gateway (GATEWAY_URL), and against a server that fails as it is told to. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Client, Refused, Unavailable, WrongUse, event } from '../src/index.js'
import { pauseMs, retryAfterMs } from '../src/retries.js'
import { shaky } from './shaky.js'

const GATEWAY = process.env.GATEWAY_URL
const real = { skip: GATEWAY ? false : 'no GATEWAY_URL: `nextclick up`, and name its address' }
const retry = { attempts: 3, firstMs: 1, longestMs: 2 }
const name = Math.random().toString(36).slice(2)
const open = (options) => new Client({ url: GATEWAY, timeoutMs: 60_000, ...options })

test('a click is counted by the next list', real, async () => {
  const client = open()
  const items = [['boot', 'shoes', 59], ['sock', 'socks', 9], ['lace', 'laces', 3], ['tent', 'tents', 99]]
  const lines = items.map(([id, category, price]) => ({ item_id: `${id}-${name}`, title: id, category, price, stock: 4 }))
  assert.deepEqual(await client.putItems(lines), { accepted: 4, rejected: [], visible: true })
  const one = event('view', { session_id: name, item_id: `boot-${name}` })
  await client.sendEvents([one])
  const { token } = await client.sendEvents([one, event('cart', { session_id: name, item_id: `sock-${name}` })])
  const answer = await client.recommend('homepage', { session_id: name, limit: 100, after: token, fields: ['title'] })
  assert.equal(answer.session.events, 2)
  const shown = new Map(answer.recommendations.map((one) => [one.item_id, one.item]))
  assert.deepEqual(shown.get(`tent-${name}`), { title: 'tent' })
  const page = await client.page({ session_id: name, lists: [{ scenario: 'homepage', limit: 1 }, { scenario: 'cart', limit: 2 }] })
  assert.deepEqual(page.lists.map((list) => list.recommendations.length), [1, 2])
})

test('items, stock and users are written and read', real, async () => {
  const client = open()
  const strange = `../a b/ü?${name}`
  assert.equal((await client.putItem(strange, { title: 'Boot', price: 59 })).visible, true)
  await client.patchItem(strange, { price: 49 })
  assert.equal((await client.setStock({ [strange]: 3 })).accepted, 1)
  assert.deepEqual(await client.item(strange), { item_id: strange, title: 'Boot', category: '', price: 49, stock: 3 })
  await client.deleteItem(strange)
  await assert.rejects(client.item(strange), (error) => error instanceof Refused && error.status === 404)
  await client.putUser(name, { age: 34 })
  await client.patchUser(name, { region: 'eu' })
  await client.doNotShow(name, { brand: 'Acme' })
  assert.deepEqual(await client.user(name), { age: 34, region: 'eu', do_not_show: { brands: ['Acme'] } })
  await client.showAgain(name, { brand: 'Acme' })
  await client.deleteUser(name)
  await assert.rejects(client.user(name), /got 404/)
})

test('what is wrong is named field by field', real, async () => {
  await assert.rejects(open().putItem('x', { title: 'Boot', price: -1 }), (error) => {
    assert.match(error.message, /PUT \/api\/items\/x: expected a 2xx answer, got 422: \/price: .*mend the fields/)
    assert.deepEqual(error.fields.map((one) => one.pointer), ['/price'])
    return true
  })
})

for (const status of [429, 503, 502, 0]) {
  test(`${status || 'no answer'} is tried again with the same ids`, async () => {
    const server = await shaky([[status], [status]])
    const client = new Client({ url: server.url, retry })
    assert.equal((await client.sendEvents([event('view', { session_id: 's', item_id: 'boot' })])).accepted, 1)
    assert.equal(server.bodies.length, 3)
    assert.equal(new Set(server.bodies.map((body) => body[0].event_id)).size, 1)
    await server.close()
  })
}

test('Retry-After is waited, and one beyond patience ends it', async () => {
  const server = await shaky([[429, { 'Retry-After': '7' }], [503, { 'Retry-After': '31' }]])
  const slept = []
  const client = new Client({ url: server.url, retry, sleep: async (ms) => void slept.push(ms) })
  await assert.rejects(client.sendEvents([event('view', { session_id: 's', item_id: 'boot' })]), (error) => {
    assert.ok(error instanceof Unavailable)
    assert.match(error.message, /503: .*asks for 31 s\) \(tried 2 times\)/)
    return true
  })
  assert.deepEqual(slept, [7000])
  await server.close()
})

test('a gateway that is away is told after the last attempt, and no key with it', async () => {
  const client = new Client({ url: 'http://127.0.0.1:9', key: 'nc_secret', retry })
  await assert.rejects(client.recommend('homepage', { session_id: 's' }), (error) => {
    assert.ok(error instanceof Unavailable)
    assert.match(error.message, /tried 3 times.*readyz/)
    assert.doesNotMatch(error.message, /nc_secret/)
    return true
  })
})

test('a key is sent', async () => {
  let headers
  const client = new Client({ url: 'http://a.b', key: 'nc_k', fetch: async (_, asked) => ((headers = asked.headers), new Response('{}')) })
  await client.user('anna')
  assert.equal(headers.Authorization, 'Bearer nc_k')
})

test('what cannot be a call is never sent', async () => {
  const client = new Client({ url: 'http://127.0.0.1:9' })
  for (const wrong of [() => client.sendEvents([]), () => client.putItem('', {}), () => client.item('..'), () => client.putItems([{ title: 'x' }])]) {
    await assert.rejects(wrong, WrongUse)
  }
  for (const wrong of [() => event('view', { session_id: 's' }), () => event('impression', { session_id: 's' }), () => new Client({ url: 'localhost' }), () => new Client()]) {
    assert.throws(wrong, WrongUse)
  }
})

test('pauses double within half and the whole of what is allowed', () => {
  const rules = { attempts: 9, firstMs: 100, longestMs: 1000, patienceMs: 5000 }
  assert.deepEqual([1, 2, 3, 6].map((attempt) => pauseMs(rules, attempt, 0, null)), [50, 100, 200, 500])
  assert.equal(pauseMs(rules, 2, 0.5, null), 150)
  assert.equal(pauseMs(rules, 9, 0, null), null)
  assert.equal(pauseMs(rules, 1, 0, 3000), 3000)
  assert.equal(pauseMs(rules, 1, 0, 5001), null)
})

test('Retry-After is seconds or a date', () => {
  const now = Date.UTC(2023, 10, 14, 22, 13, 20)
  assert.deepEqual(['120', 'Tue, 14 Nov 2023 22:13:30 GMT', 'soon', '-3', null].map((one) => retryAfterMs(one, now)), [120_000, 10_000, null, null, null])
})
