// Every page, light and dark: no axe violation, no console error, and the policy of csp.json in force.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { openBrowser, openPage, settled, signIn, startMock } from './kit.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const NASTY = encodeURIComponent('<img src=x onerror=alert(1)>')
const PAGES = [
  '/',
  '/usage?by=user,model',
  '/sessions',
  '/sessions?view=past',
  '/users',
  `/users/detail?user=${NASTY}`,
  '/orgs',
  `/orgs/detail?org=${encodeURIComponent('<b>org & sons</b>')}`,
  '/features',
  '/limits',
  '/blocks',
  '/keys?ended=true',
  '/prices',
  '/audit',
  '/logins',
  '/settings',
  '/signin',
]
let mock
let browser

before(async () => {
  mock = await startMock(8094)
  browser = await openBrowser()
})
after(async () => {
  await browser.close()
  mock.end()
})

for (const theme of ['light', 'dark'])
  for (const path of PAGES)
    test(`${theme} ${path} is accessible and quiet`, async () => {
      const context = await browser.newContext({ colorScheme: theme, viewport: { width: 1280, height: 900 } })
      await signIn(context, mock.url)
      const { page, assertQuiet } = await openPage(context)
      const response = await page.goto(mock.url + path)
      assert.match(response.headers()['content-security-policy'], /script-src 'self' 'sha256-/)
      await settled(page)
      await assertClean(page)
      assertQuiet()
      await context.close()
    })

for (const mode of ['empty', 'error', 'slow'])
  test(`the ${mode} state is accessible`, async () => {
    const context = await browser.newContext({ colorScheme: 'dark' })
    await signIn(context, mock.url, 'login_1', mode)
    const page = await context.newPage()
    await page.goto(`${mock.url}/`)
    if (mode === 'empty') await page.getByRole('heading', { name: 'Connect your application' }).waitFor()
    if (mode === 'error')
      await page.getByText('This could not be loaded').first().waitFor({ timeout: 20_000 })
    await assertClean(page)
    await context.close()
  })

test('dialogs are accessible', async () => {
  const context = await browser.newContext({ colorScheme: 'light' })
  await signIn(context, mock.url)
  const { page, assertQuiet } = await openPage(context)
  for (const [path, button] of [
    ['/limits', 'Set a limit'],
    ['/blocks', 'Block a user'],
    ['/keys', 'New key'],
    ['/prices', 'Set a price'],
    ['/logins', 'New login'],
    ['/users', 'New user'],
  ]) {
    await page.goto(mock.url + path)
    await page.getByRole('button', { name: button }).click()
    await page.getByRole('dialog').waitFor()
    await page.waitForTimeout(300)
    await assertClean(page)
    await page.keyboard.press('Escape')
    assert.equal(await page.getByRole('dialog').count(), 0)
  }
  assertQuiet()
  await context.close()
})

async function assertClean(page) {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document))
  const told = violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .slice(0, 3)
        .map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`)
        .join(' | ')}`,
  )
  assert.deepEqual(told, [])
}
