// Screenshots of every page against the mock: both themes, wide and phone. They go to shots/, which is not kept; the few
// that the READMEs show are copied to docs/ from there.
//   node scripts/screens.mjs [page…]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { openBrowser, settled } from '../e2e/kit.mjs'

const PORT = 8092
const BASE = `http://127.0.0.1:${PORT}`
const SHOTS = new URL('../shots/', import.meta.url).pathname
/** Of WebP: letters stay sharp, and a page is a quarter of what it is as PNG. */
const QUALITY = 85
const PAGES = {
  overview: '/',
  usage: '/usage?by=provider,feature',
  sessions: '/sessions',
  past: '/sessions?view=past',
  users: '/users',
  user: '/users/detail?user=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E',
  orgs: '/orgs',
  org: '/orgs/detail?org=acme',
  features: '/features',
  limits: '/limits',
  blocks: '/blocks',
  refusals: '/refusals',
  keys: '/keys',
  audit: '/audit',
  logins: '/logins',
  settings: '/settings',
  signin: '/signin',
  first: '/|empty',
  nousers: '/users|empty',
  failing: '/users|error',
  loading: '/|slow',
}
const wanted = process.argv.slice(2)
mkdirSync(SHOTS, { recursive: true })
const mock = spawn(process.execPath, [new URL('../mock/server.mjs', import.meta.url).pathname], {
  env: { ...process.env, PORT },
  stdio: ['ignore', 'pipe', 'inherit'],
})
await once(mock.stdout, 'data')
const browser = await openBrowser()
try {
  for (const [theme, width] of [
    ['light', 1440],
    ['dark', 1440],
    ['light', 390],
    ['dark', 390],
  ]) {
    const context = await browser.newContext({
      viewport: { width, height: width > 1000 ? 900 : 844 },
      colorScheme: theme,
      deviceScaleFactor: 1,
    })
    for (const [name, target] of Object.entries(PAGES)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue
      const [path, mode = ''] = target.split('|')
      await context.clearCookies()
      await context.addCookies([
        { name: 'tokenist_session', value: 'login_1', url: BASE },
        { name: 'mock', value: mode, url: BASE },
      ])
      const page = await context.newPage()
      page.on(
        'console',
        (message) =>
          message.type() === 'error' && mode !== 'error' && console.log(`${name}: ${message.text()}`),
      )
      page.on('pageerror', (error) => console.log(`${name}: ${error}`))
      await page.goto(BASE + path)
      if (mode === 'error') await page.getByText('This could not be loaded').first().waitFor()
      else if (mode !== 'slow') await settled(page)
      // Bars grow for a while.
      await page.waitForTimeout(1500)
      writeFileSync(`${SHOTS}${name}-${theme}-${width}.webp`, await shoot(context, page))
      await page.close()
    }
    await context.close()
  }
} finally {
  await browser.close()
  mock.kill()
}

/** The whole page. Playwright itself knows no WebP; the browser does. */
async function shoot(context, page) {
  const browserOf = await context.newCDPSession(page)
  const { cssContentSize } = await browserOf.send('Page.getLayoutMetrics')
  const { data } = await browserOf.send('Page.captureScreenshot', {
    format: 'webp',
    quality: QUALITY,
    captureBeyondViewport: true,
    clip: { ...cssContentSize, scale: 1 },
  })
  return Buffer.from(data, 'base64')
}
