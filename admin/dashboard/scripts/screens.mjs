// Screenshots of every page against the mock: both themes, wide and phone. They go to shots/, which is not kept.
//   node scripts/screens.mjs [page…]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'

const PORT = 8092
const BASE = `http://127.0.0.1:${PORT}`
const SHOTS = new URL('../shots/', import.meta.url).pathname
const PAGES = {
  overview: '/',
  usage: '/usage?by=model,feature',
  sessions: '/sessions',
  past: '/sessions?view=past',
  users: '/users',
  user: '/users/detail?user=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E',
  orgs: '/orgs',
  org: '/orgs/detail?org=acme',
  features: '/features',
  limits: '/limits',
  blocks: '/blocks',
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
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})
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
      if (mode !== 'slow') await page.waitForLoadState('networkidle')
      await page.waitForTimeout(mode === 'error' ? 5000 : mode === 'slow' ? 900 : 1500)
      await page.screenshot({ path: `${SHOTS}${name}-${theme}-${width}.png`, fullPage: true })
      await page.close()
    }
    await context.close()
  }
} finally {
  await browser.close()
  mock.kill()
}
