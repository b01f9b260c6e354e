// Fails if a page loads more JavaScript than was promised. Counted are all scripts that a page names, gzipped;
// those for browsers without modules are not, because no browser that runs the dashboard asks for them.
import { readFileSync, statSync } from 'node:fs'
import { filesUnder } from './files.mjs'

const OUT = new URL('../out/', import.meta.url).pathname
const MAX_KB = 350

let failed = false
for (const page of filesUnder(OUT).filter((name) => name.endsWith('.html'))) {
  const html = readFileSync(OUT + page, 'utf8')
  const tags = [...html.matchAll(/<script[^>]*\ssrc="([^"]+)"[^>]*>/g)].filter(
    ([tag]) => !/\snomodule/i.test(tag),
  )
  const named = [...html.matchAll(/static\/chunks\/[\w.~-]+\.js/g)].map(([name]) => `_next/${name}`)
  const skipped = [...html.matchAll(/<script[^>]*\snomodule[^>]*>/gi)].map(
    ([tag]) => /src="\/([^"]+)"/.exec(tag)?.[1],
  )
  const scripts = new Set(
    [...tags.map(([, src]) => src.slice(1)), ...named].filter((name) => !skipped.includes(name)),
  )
  const bytes = [...scripts].reduce((sum, name) => sum + sizeOf(name), 0)
  const kb = bytes / 1024
  failed ||= kb > MAX_KB
  console.log(
    `${kb.toFixed(1).padStart(7)} KB  ${String(scripts.size).padStart(3)} scripts  ${page}${kb > MAX_KB ? `  over ${MAX_KB}` : ''}`,
  )
}
process.exitCode = failed ? 1 : 0

function sizeOf(name) {
  try {
    return statSync(`${OUT + name}.gz`).size
  } catch {
    return statSync(OUT + name).size
  }
}
