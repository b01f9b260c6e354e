// What only the mock can show: pages that wait, that fail, or whose numbers are old. All else is seen on the binary, by
// live/.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { assertAccessible, openBrowser } from './kit.mjs'

const PORT = '8094'
const MOCK = `http://127.0.0.1:${PORT}`
let mock
let browser

before(async () => {
  mock = spawn(process.execPath, [new URL('../mock/server.mjs', import.meta.url).pathname], {
    env: { ...process.env, PORT },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(mock.stdout, 'data')
  browser = await openBrowser()
})
after(async () => {
  await browser?.close()
  mock.kill()
})

/** A page of the owner's on a mock in this state. */
async function open(state, path) {
  const context = await browser.newContext({ colorScheme: 'dark', baseURL: MOCK })
  await context.addCookies([{ name: 'tokenist_session', value: 'login_1', url: MOCK }])
  const become = (next) => context.addCookies([{ name: 'mock', value: next, url: MOCK }])
  await become(state)
  const page = await context.newPage()
  await page.goto(path)
  return { page, become, close: () => context.close() }
}

test('a page that waits shows where its numbers will be', async () => {
  const { page, close } = await open('slow', '/')
  await page.locator('main .animate-pulse').first().waitFor()
  await assertAccessible(page)
  await close()
})

test('a page that fails says why, and asks again when told to', async () => {
  const { page, become, close } = await open('error', '/users')
  await page.getByText('This could not be loaded').first().waitFor()
  await page.getByText('The store does not answer: disk I/O error').first().waitFor()
  await assertAccessible(page)
  await become('')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByRole('table', { name: 'Users' }).waitFor()
  await close()
})

test('a page with nothing in it says how that changes', async () => {
  for (const [path, text] of [
    ['/', 'Connect your application'],
    ['/users', 'Users appear here with their first event.'],
    ['/blocks', 'Nobody is blocked'],
  ]) {
    const { page, close } = await open('empty', path)
    await page.getByText(text).waitFor()
    await assertAccessible(page)
    await close()
  }
})

test('numbers that cannot be read again are called stale, and stay', async () => {
  const { page, become, close } = await open('', '/blocks')
  await page.getByRole('table', { name: 'Blocked users' }).waitFor()
  await become('error')
  await page.getByRole('button', { name: /Updated at/ }).click()
  await page.getByRole('button', { name: /Stale, of .* UTC/ }).waitFor()
  await page.getByRole('table', { name: 'Blocked users' }).waitFor()
  await assertAccessible(page)
  await close()
})
