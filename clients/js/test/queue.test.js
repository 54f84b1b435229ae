/** Events in the background: batches, bounds, outages, and the end of the process. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'
import { Client, EventQueue, WrongUse } from '../src/index.js'
import { shaky } from './shaky.js'

const retry = { attempts: 2, firstMs: 1, longestMs: 2 }
const click = (item_id) => ({ session_id: 's-1', item_id })

test('a queue sends in batches, and what waits at its end', async () => {
  const server = await shaky()
  const queue = new EventQueue(new Client({ url: server.url }), { batch: 3, everyMs: 3_600_000 })
  for (let n = 0; n < 8; n += 1) assert.equal(queue.track('view', click(`i-${n}`)), true)
  await queue.close()
  assert.deepEqual(server.items(), Array.from({ length: 8 }, (_, n) => `i-${n}`))
  assert.ok(Math.max(...server.bodies.map((body) => body.length)) <= 3)
  assert.deepEqual([queue.sent, queue.dropped, queue.length], [8, 0, 0])
  assert.throws(() => queue.track('view', click('late')), WrongUse)
  await server.close()
})

test('a queue holds so many and tells of the others', async () => {
  const told = []
  const client = new Client({ url: 'http://127.0.0.1:9', retry })
  const queue = new EventQueue(client, { most: 2, everyMs: 3_600_000, told: (one, why) => told.push([one.item_id, why]) })
  assert.deepEqual([0, 1, 2].map((n) => queue.track('view', click(`i-${n}`))), [true, true, false])
  await queue.close()
  assert.deepEqual(told, [['i-2', 'queue_full'], ['i-0', 'not_sent_at_exit'], ['i-1', 'not_sent_at_exit']])
  assert.deepEqual([queue.sent, queue.dropped], [0, 3])
})

test('a queue goes on after an outage, and after what is refused', async () => {
  const server = await shaky([[503], [503], [503], [422]])
  let refused
  const done = new Promise((resolve) => (refused = resolve))
  const queue = new EventQueue(new Client({ url: server.url, retry }), { batch: 1, everyMs: 1, told: (one) => refused(one.item_id) })
  queue.track('view', click('i-0'))
  const alive = setInterval(() => {}, 1000) // the queue's own timer keeps no process
  assert.equal(await done, 'i-0')
  clearInterval(alive)
  queue.track('view', click('i-1'))
  await queue.close()
  assert.deepEqual([queue.sent, queue.refused], [1, 1])
  await server.close()
})

const NO_ANSWER = [
  [200, {}, '<html>be right back'],
  [200, {}, '{"status": "ok"}'],
  [202, {}, ''],
  [202, {}, '[]'],
  [202, {}, 'null'],
  [202, {}, '{"accepted": 1, "rejected": "none"}'],
  [202, {}, '{"accepted": 1, "rejected": [null]}'],
  [202, {}, '{"accepted": 1, "rej'],
  [202, { 'Content-Length': '99', Connection: 'close' }, '{"accepted": 1'],
  [202, { 'Content-Encoding': 'gzip' }, 'no gzip'],
  [500, {}, 'oops'],
  [408, {}, ''],
  [522, {}, '<html>'],
  [503, { 'Retry-After': '999999999' }, ''],
]

test('what no gateway answers loses no event, ends no queue, and throws nothing into the page', async () => {
  for (const answer of NO_ANSWER) {
    const server = await shaky([answer])
    const told = []
    const queue = new EventQueue(new Client({ url: server.url, retry: { attempts: 1 } }), { everyMs: 3_600_000, told: (one, why) => told.push(why) })
    queue.track('view', click('i-0'))
    assert.deepEqual([await queue.flush(), await queue.flush()], [false, true], String(answer))
    await queue.close()
    assert.deepEqual([server.items(), told, queue.sent, queue.refused], [['i-0', 'i-0'], [], 1, 0], String(answer))
    await server.close()
  }
})

test('what is refused in an odd form is refused, and told', async () => {
  for (const body of ['null', '{"errors": "none"}', '{"errors": [null]}', '{"errors": [{}], "detail": {}}', '<html>']) {
    const server = await shaky([[422, {}, body]])
    const queue = new EventQueue(new Client({ url: server.url }), { everyMs: 3_600_000 })
    queue.track('view', click('i-0'))
    assert.equal(await queue.flush(), true, body)
    await queue.close()
    assert.equal(queue.refused, 1)
    await server.close()
  }
})

test('an event that cannot be sent is refused at once and keeps no other', async () => {
  const server = await shaky()
  const queue = new EventQueue(new Client({ url: server.url }), { everyMs: 3_600_000 })
  const endless = {}
  endless.self = endless
  for (const odd of [1n, endless]) assert.throws(() => queue.track('view', { ...click('i-0'), context: { odd } }), WrongUse)
  queue.track('view', click('i-1'))
  await queue.close()
  assert.deepEqual(server.items(), ['i-1'])
  await server.close()
})

test('a queue is flushed when the process has nothing else to do', async () => {
  const server = await shaky()
  const script =
    "import { Client, EventQueue } from './src/index.js'\n" +
    "new EventQueue(new Client({ url: process.env.SHOP }), { everyMs: 3600000 }).track('view', { session_id: 's', item_id: 'at-exit' })"
  const cwd = new URL('..', import.meta.url)
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd, env: { ...process.env, SHOP: server.url } })
  assert.deepEqual(server.items(), ['at-exit'])
  await server.close()
})
