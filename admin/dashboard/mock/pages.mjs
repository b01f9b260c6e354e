// Serves `out/` as the binary does: `/users` is `users.html`, with the page's own policy.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { extname, join, normalize } from 'node:path'

const OUT = new URL('../out', import.meta.url).pathname
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
  '.ico': 'image/x-icon',
}

export function servePage(request, response, path) {
  const name = [path === '/' ? 'index.html' : path.slice(1), `${path.slice(1)}.html`]
    .map((each) => normalize(each))
    .find(isFile)
  const found = name ?? '404.html'
  const headers = {
    'Content-Type': TYPES[extname(found)] ?? 'application/octet-stream',
    'Cache-Control': found.startsWith('_next/static/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    'X-Content-Type-Options': 'nosniff',
  }
  if (found.endsWith('.html')) headers['Content-Security-Policy'] = policyOf(found)
  const zipped = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '') && isFile(`${found}.gz`)
  if (zipped) headers['Content-Encoding'] = 'gzip'
  response.writeHead(name ? 200 : 404, headers).end(readFileSync(join(OUT, zipped ? `${found}.gz` : found)))
}

function isFile(name) {
  const path = join(OUT, name)
  return !name.startsWith('..') && existsSync(path) && statSync(path).isFile()
}

function policyOf(page) {
  const hashes = JSON.parse(readFileSync(join(OUT, 'csp.json'), 'utf8'))[page] ?? []
  const scripts = ["'self'", ...hashes.map((hash) => `'${hash}'`)].join(' ')
  return `default-src 'self'; script-src ${scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'`
}
