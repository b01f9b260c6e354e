// Finishes `out/` for the binary that embeds it: `csp.json` names the inline scripts that each page's policy
// must allow, and text files get a gzipped copy beside them, so that the server compresses nothing.
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { filesUnder } from './files.mjs'

const OUT = new URL('../out/', import.meta.url).pathname
const TEXT = /\.(html|js|css|json|svg|txt)$/
const GZIP_BYTES_MIN = 1024

const policies = {}
for (const page of filesUnder(OUT).filter((name) => name.endsWith('.html'))) {
  policies[page] = hashes(readFileSync(OUT + page, 'utf8'))
}
writeFileSync(`${OUT}csp.json`, `${JSON.stringify(policies, null, 1)}\n`)

for (const name of filesUnder(OUT).filter((name) => TEXT.test(name) && name !== 'csp.json')) {
  const text = readFileSync(OUT + name)
  if (text.length >= GZIP_BYTES_MIN) writeFileSync(`${OUT + name}.gz`, gzipSync(text, { level: 9 }))
}
console.log(`out/: ${Object.keys(policies).length} pages, policies in csp.json`)

function hashes(html) {
  const inline = [...html.matchAll(/<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script>/g)]
  const all = inline.map(([, code]) => `sha256-${createHash('sha256').update(code).digest('base64')}`)
  return [...new Set(all)].sort()
}
