// The API's contract and the exported pages on one origin, as the binary serves them, with data that moves.
//   node mock/server.mjs        MOCK=empty|error|slow is the state of all; a cookie `mock` sets it for one visitor
import { createServer } from 'node:http'
import { actorOf, meOf, refusal, signing } from './auth.mjs'
import { servePage } from './pages.mjs'
import { emptied, ROUTES } from './routes.mjs'
import { begin, tick } from './world.mjs'

const PORT = Number(process.env.PORT ?? 8091)
const MODE = process.env.MOCK ?? ''
const SLOW_MS = 4000

begin()
setInterval(tick, 1000)

createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock')
  try {
    if (/^\/(admin|auth|health|ready)(\/|$)/.test(url.pathname)) await answer(request, response, url)
    else servePage(request, response, decodeURIComponent(url.pathname))
  } catch (error) {
    console.error(error)
    send(response, 500, { error: 'Internal error' })
  }
}).listen(PORT, '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${PORT}  owner@example.test / correct horse`),
)

async function answer(request, response, url) {
  const cookies = Object.fromEntries(
    (request.headers.cookie ?? '')
      .split(/; */)
      .filter(Boolean)
      .map((each) => each.split('=')),
  )
  const mode = cookies.mock ?? MODE
  const body = await bodyOf(request)
  const signed = signing(request.method, url.pathname, body)
  if (signed) {
    if (signed.cookie) response.setHeader('Set-Cookie', signed.cookie)
    if (signed.retryAfter) response.setHeader('Retry-After', signed.retryAfter)
    return send(response, signed.status, signed.body)
  }
  const me = meOf(cookies)
  if (url.pathname === '/auth/me')
    return me ? send(response, 200, me) : send(response, 401, { error: 'Authorization header required' })
  const open = url.pathname === '/health' || url.pathname === '/ready'
  const refused = open ? null : (refusal(me, request.method, url.pathname) ?? foreign(request))
  if (refused) return send(response, ...refused)
  // Nothing is told here; a browser does not ask again after this answer.
  if (url.pathname === '/admin/stream') return send(response, 204)
  if (mode === 'error') return send(response, 503, { error: 'The store does not answer: disk I/O error' })
  if (mode === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MS))
  for (const [method, pattern, handle] of ROUTES) {
    const path = method === request.method && matched(pattern, url.pathname)
    if (!path) continue
    const result = handle({
      query: url.searchParams,
      path,
      body,
      accept: request.headers.accept ?? '',
      actor: me && actorOf(me),
    })
    if (Array.isArray(result)) return send(response, ...result)
    if ('csv' in result)
      return response.writeHead(200, { 'Content-Type': 'text/csv; charset=utf-8' }).end(result.csv)
    return send(response, 200, mode === 'empty' ? emptied(url.pathname, result) : result)
  }
  return send(response, 404, { error: 'Not found' })
}

/** A cookie is believed only from our own pages. */
function foreign(request) {
  if (request.method === 'GET') return null
  return request.headers.origin === `http://${request.headers.host}` ? null : [403, { error: 'Wrong origin' }]
}

function matched(pattern, path) {
  const [wanted, given] = [pattern.split('/'), path.split('/')]
  if (wanted.length !== given.length) return null
  const found = []
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(':')) found.push(decodeURIComponent(given[index]))
    else if (part !== given[index]) return null
  }
  return found
}

async function bodyOf(request) {
  let text = ''
  for await (const chunk of request) text += chunk
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

function send(response, status, body) {
  if (status === 204) return response.writeHead(204).end()
  response
    .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
    .end(JSON.stringify(body))
}
