// Chromium: browser.mjs PAGE ORIGIN KEY, where PAGE is a program beside this one that runs in a page of another origin than
// the proxy's. Prints what the page logs.

import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { openBrowser } from '../../admin/dashboard/e2e/kit.mjs'

const [page, origin, key] = process.argv.slice(2)
const entry = fileURLToPath(new URL(page, import.meta.url))
const bundle = await build({ entryPoints: [entry], bundle: true, globalName: 'program', write: false })

const site = createServer((_, response) => {
  response.setHeader('content-type', 'text/html').end('<!doctype html><link rel="icon" href="data:,">')
})
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve))
// Its microphone beeps, what is heard is played without a click, and calls go over loopback, which may be all that there is.
const browser = await openBrowser(
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
)
try {
  const tab = await browser.newPage({ ignoreHTTPSErrors: true })
  tab.on('console', (message) => (message.type() === 'log' ? console.log : console.error)(message.text()))
  await tab.goto(`http://127.0.0.1:${site.address().port}/`)
  await tab.addScriptTag({ content: bundle.outputFiles[0].text })
  await tab.evaluate(([origin, key]) => program.default(origin.replace('http', 'ws'), key), [origin, key])
} finally {
  await browser.close()
  site.close()
}
