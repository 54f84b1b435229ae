/** A server that fails as it is told to, and then takes what comes. */
import { createServer } from 'node:http'

/** Answers in order: [status, headers, body]; status 0 closes the connection unanswered. After that, 202. */
export async function shaky(answers = []) {
  const left = [...answers]
  const bodies = []
  const server = createServer(async (request, response) => {
    let raw = ''
    for await (const part of request) raw += part
    bodies.push(JSON.parse(raw))
    const [status, headers = {}, body] = left.shift() ?? [202]
    if (!status) return request.socket.destroy()
    const taken = { accepted: bodies.at(-1).length, rejected: [], token: null }
    response.writeHead(status, headers)
    response.end(body ?? JSON.stringify(status === 202 ? taken : { status, detail: 'as told' }))
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const close = () => (server.closeAllConnections?.(), new Promise((done) => server.close(done)))
  return { url: `http://127.0.0.1:${server.address().port}`, bodies, close, items: () => bodies.flat().map((one) => one.item_id) }
}
