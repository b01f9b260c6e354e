// Starts what the journeys need: a browser, and the mock unless TOKENIST_URL names a running tokenist.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chromium } from 'playwright-core'

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const openBrowser = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS })

/** The mock on a port of its own; `end` stops it. */
export async function startMock(port) {
  const server = new URL('../mock/server.mjs', import.meta.url).pathname
  const mock = spawn(process.execPath, [server], {
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(mock.stdout, 'data')
  return { url: `http://127.0.0.1:${port}`, end: () => mock.kill() }
}

/** A page that fails its test on a console error, an exception or a dialog that no script of ours opens. */
export async function openPage(context) {
  const page = await context.newPage()
  const troubles = []
  page.on('console', (message) => message.type() === 'error' && troubles.push(message.text()))
  page.on('pageerror', (error) => troubles.push(String(error)))
  page.on('dialog', (dialog) => {
    troubles.push(`a script opened a dialog: ${dialog.message()}`)
    dialog.dismiss()
  })
  return { page, assertQuiet: () => assert.deepEqual(troubles, []) }
}

export async function signIn(context, url, login = 'login_1', mode = '') {
  await context.clearCookies()
  const cookies = { tokenist_session: login, ...(mode && { mock: mode }) }
  await context.addCookies(Object.entries(cookies).map(([name, value]) => ({ name, value, url })))
}

/** Waits until the page has left its skeletons. */
export async function settled(page) {
  await page.getByRole('heading', { level: 1 }).waitFor()
  await page.waitForFunction(() => document.querySelector('main .animate-pulse') === null)
}
