// A call from the page for trying one: what is said stands there, and what it costs meanwhile; it ends where its user's limit does.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openBrowser, openPage, settled } from '../kit.mjs'
import { ask, PATIENCE_MS, stage } from './stage.mjs'

const USER = 'caller'
let browser
let key

before(async () => {
  ;({ apiKey: key } = await ask('POST', '/auth/api-keys', { name: 'try', userId: USER }))
  // Its microphone beeps, and calls go over loopback, which may be all that there is.
  browser = await openBrowser(
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    '--autoplay-policy=no-user-gesture-required',
    '--allow-loopback-in-peer-connection',
  )
})
after(() => browser?.close())

async function open() {
  const context = await browser.newContext({ baseURL: stage.url })
  context.setDefaultTimeout(PATIENCE_MS)
  const opened = await openPage(context)
  await opened.page.goto('/try')
  await settled(opened.page)
  return opened
}

async function call(page, address, by = key) {
  await page.getByLabel('Proxy').fill(address)
  await page.getByLabel('Key').fill(by)
  await page.getByRole('button', { name: 'Call' }).click()
}

const dollars = (page, label) =>
  page
    .locator('dl > div', { has: page.getByText(label, { exact: true }) })
    .locator('dd')
    .first()
    .textContent()

test('a call costs more with each answer, until its user’s limit', async () => {
  const { page, assertQuiet } = await open()
  await ask('PUT', `/admin/limits/user/${USER}`, { maxCostUsd: 0.02 })
  await call(page, stage.proxy)
  await page.getByText('Connected').waitFor()
  const words = page.getByLabel('Say it in writing')
  const over = page.getByRole('alert').filter({ hasText: /limit/i })
  const costs = []
  while ((await words.count()) > 0 && (await over.count()) === 0) {
    // It may end between one look and the next.
    await words.fill('Say something long', { timeout: 1_000 }).catch(() => {})
    await words.press('Enter', { timeout: 1_000 }).catch(() => {})
    await page.waitForTimeout(1_500)
    costs.push(await dollars(page, 'This call'))
  }
  await over.waitFor()
  assert.ok(new Set(costs).size > 1, `it rises while the call goes on: ${costs}`)
  assert.equal(await dollars(page, 'Left'), '$0.00')
  await page.getByText('Model', { exact: true }).first().waitFor()
  await page.getByRole('button', { name: 'Call' }).waitFor()
  assertQuiet()
})

test('whoever hangs up sees what was written, and nobody is blamed', async () => {
  const { page, assertQuiet } = await open()
  const { apiKey } = await ask('POST', '/auth/api-keys', { name: 'try', userId: 'polite' })
  await call(page, stage.proxy, apiKey)
  await page.getByText('Connected').waitFor()
  await page.getByLabel('Say it in writing').fill('Good day')
  await page.getByLabel('Say it in writing').press('Enter')
  await page.getByRole('listitem').filter({ hasText: 'You' }).filter({ hasText: 'Good day' }).waitFor()
  await page.getByRole('button', { name: 'Hang up' }).click()
  await page.getByText('Over', { exact: true }).waitFor()
  // The framework has an alert of its own, in which nothing stands.
  assert.equal(await page.getByRole('alert').filter({ hasText: /\w/ }).count(), 0)
  assertQuiet()
})

test('whoever has nothing left is told so in place of a call', async () => {
  const { page } = await open()
  await call(page, stage.proxy)
  await page
    .getByRole('alert')
    .filter({ hasText: /cost limit reached/i })
    .waitFor()
})

test('where nobody answers, the page says what has to be right', async () => {
  const { page } = await open()
  await call(page, 'http://127.0.0.1:9')
  await page.getByRole('alert').filter({ hasText: 'browser.origins' }).waitFor()
  assert.equal(await page.getByText('nobody is told').count(), 0)
})
