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

test('a limit that is used up already is asked about, and can be undone from the audit', async () => {
  const { page, close } = await open('', '/limits?kind=org&own=true')
  const edit = page.getByRole('button', { name: /Edit the limit/ }).first()
  const org = (await edit.getAttribute('aria-label')).replace('Edit the limit of ', '')
  const row = page.getByRole('row').filter({ has: page.getByText(org, { exact: true }) })
  const before = await row.getByRole('cell').nth(2).textContent()
  await edit.click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText(/Used of it: \$/).waitFor()
  await dialog.getByLabel('Cost').fill('1')
  await dialog.getByRole('button', { name: 'Save limit' }).click()
  await dialog.getByText('This limit is used up already.').waitFor()
  await assertAccessible(page)
  await dialog.getByRole('button', { name: /^Set it/ }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await row.getByText('$1.00').first().waitFor()

  await page.goto('/audit')
  await page
    .getByRole('button', { name: `Undo org.limit of ${org}` })
    .first()
    .click()
  await page.getByRole('dialog').getByRole('button', { name: 'Restore limit' }).click()
  const sure = page.getByRole('dialog').getByRole('button', { name: /^Set it/ })
  await Promise.race([sure.click(), page.getByRole('dialog').waitFor({ state: 'detached' })])
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.goto('/limits?kind=org&own=true')
  await row.getByText(before).waitFor()
  await close()
})

test('while somebody is refused every page says so, and one says who and why', async () => {
  const { page, close } = await open('', '/')
  await page.getByText(/refused within the last five minutes/).waitFor()
  await page.getByRole('link', { name: 'See who, and why' }).click()
  await page.getByRole('table', { name: 'Refusals' }).waitFor()
  await page
    .getByText(/Cost limit reached · 4004/)
    .first()
    .waitFor()
  await page.getByText('$50.01 of $50.00').first().waitFor()
  await assertAccessible(page)
  await close()
})
