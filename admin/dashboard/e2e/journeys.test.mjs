// What operators do, by role and label. Against the mock; TOKENIST_URL and TOKENIST_TOKEN point them at a running
// tokenist with traffic, where the tests that need the mock's own people and modes are left out.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { openBrowser, openPage, settled, signIn, startMock } from './kit.mjs'

const real = process.env.TOKENIST_URL
const withMock = { skip: real ? 'needs the mock' : false }
let url
let end = () => {}
let browser

before(async () => {
  if (real) url = real.replace(/\/$/, '')
  else ({ url, end } = await startMock(8096))
  browser = await openBrowser()
})
after(async () => {
  await browser.close()
  end()
})

/** Runs one journey as a login, and fails it on any trouble in the console. */
async function journey(steps, { login = 'login_1', path = '/', quiet = true, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const { page, assertQuiet } = await openPage(context)
  if (real) await signInWithToken(page, path)
  else {
    await signIn(context, url, login)
    await page.goto(url + path)
  }
  await settled(page)
  await steps(page, context)
  if (quiet) assertQuiet()
  await context.close()
}

async function signInWithToken(page, path) {
  await page.goto(`${url}/signin?next=${encodeURIComponent(path)}`)
  await page.getByText('Operator’s token').click()
  await page.getByLabel('Token', { exact: true }).fill(process.env.TOKENIST_TOKEN)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(url + path)
}

test('who is not signed in signs in, and lands where they were going', withMock, async () => {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(`${url}/usage?by=org`)
  await page.waitForURL(/\/signin\?next=%2Fusage%3Fby%3Dorg/)
  await page.getByLabel('Email', { exact: true }).fill('owner@example.test')
  await page.getByLabel('Password', { exact: true }).fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('alert').filter({ hasText: 'Invalid email or password' }).waitFor()
  await page.getByLabel('Password', { exact: true }).fill('correct horse')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${url}/usage?by=org`)
  const [cookie] = await context.cookies()
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict'])
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${url}/signin`)
  await context.close()
})

test('the cost rises while sessions run', () =>
  journey(async (page) => {
    const cost = page.locator('dl').first().locator('dd').first()
    const before = await cost.getAttribute('title')
    await page.waitForFunction((old) => document.querySelector('dl dd').title !== old, before, {
      timeout: 20_000,
    })
  }))

test('filters live in the address and outlast a reload', () =>
  journey(
    async (page) => {
      await page.getByRole('button', { name: 'Org' }).click()
      await page.getByText('Last 24 h').click()
      await page.waitForURL(/by=model%2Corg.*period=rolling_24h/)
      await page.reload()
      await settled(page)
      assert.equal(await page.getByRole('button', { name: /^org/i }).getAttribute('aria-pressed'), 'true')
      assert.ok(await page.getByRole('radio', { name: 'Last 24 h' }).isChecked())
      await page.goBack()
      await page.waitForURL((address) => !address.search.includes('period'))
    },
    { path: '/usage' },
  ))

test('the table is downloaded as CSV that starts no formula', () =>
  journey(
    async (page) => {
      const download = page.waitForEvent('download')
      await page.getByRole('button', { name: 'CSV' }).click()
      const text = readFileSync(await (await download).path(), 'utf8')
      assert.match(text, /^user,/)
      for (const line of text.split('\r\n').slice(1)) assert.doesNotMatch(line, /^"?[=+@-]/)
    },
    { path: '/usage?by=user' },
  ))

test('a user is found, blocked with a reason, and unblocked', withMock, () =>
  journey(
    async (page) => {
      await page.getByRole('searchbox', { name: /Search by id/ }).fill('tariq.kim')
      await page.waitForURL(/search=tariq.kim/)
      await page.getByRole('link', { name: 'Tariq Kim' }).first().click()
      await page.getByRole('button', { name: 'Block', exact: true }).click()
      await page.getByLabel('Reason').fill('<b>loop</b>')
      await page.getByRole('button', { name: 'Block user' }).click()
      await page.getByText('Reason: <b>loop</b>').waitFor()
      await page.getByRole('button', { name: 'Unblock' }).click()
      await page.getByRole('button', { name: 'Block', exact: true }).waitFor()
    },
    { path: '/users' },
  ),
)

test('a limit says what it does, and is changed', withMock, () =>
  journey(
    async (page) => {
      await page.getByRole('button', { name: 'Edit limit' }).first().click()
      const dialog = page.getByRole('dialog')
      await dialog.getByText('Warn only').click()
      await dialog.getByText('nothing is ended or refused').waitFor()
      await dialog.getByLabel('Cost').fill('123')
      await dialog.getByRole('button', { name: 'Save limit' }).click()
      await page.getByText('$123.00 per month').first().waitFor()
      await page.getByText('Warns only', { exact: true }).first().waitFor()
    },
    { path: '/users/detail?user=a%2Fb%3Fc%3Dd%23e%26f' },
  ),
)

test('a key is shown once', () =>
  journey(
    async (page) => {
      await page.getByRole('button', { name: 'New key' }).click()
      await page.getByLabel('Name').fill('journey')
      await page.getByRole('button', { name: 'Make key' }).click()
      const secret = await page
        .getByRole('dialog', { name: 'Key journey is made' })
        .locator('code')
        .textContent()
      assert.match(secret, /^ug_[0-9a-f]{64}$/)
      await page.getByRole('button', { name: 'I have copied it' }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })
      assert.ok(!(await page.content()).includes(secret))
      await page.getByRole('button', { name: 'Revoke journey' }).first().click()
      await page.getByRole('button', { name: 'Revoke key' }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })
    },
    { path: '/keys' },
  ))

test('a live session is ended after a confirmation', () =>
  journey(
    async (page) => {
      await page
        .getByRole('button', { name: /^End the session of/ })
        .first()
        .click()
      await page.getByRole('button', { name: 'End session' }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })
      await page.getByText('Past', { exact: true }).click()
      await page
        .getByText(/Blocked or ended · 4003/)
        .first()
        .waitFor()
    },
    { path: '/sessions' },
  ))

test('a price is tried on last month before it is saved', withMock, () =>
  journey(
    async (page) => {
      await page.getByRole('button', { name: 'Edit the price of gpt-realtime' }).first().click()
      await page.getByLabel('Audio in', { exact: true }).fill('40')
      await page.getByRole('button', { name: 'Try on last month' }).click()
      await page.getByText('it would have cost').waitFor()
    },
    { path: '/prices' },
  ),
)

test('a viewer sees everything and is offered no change', withMock, async () => {
  for (const path of [
    '/',
    '/users',
    '/users/detail?user=tariq.kim.263',
    '/limits',
    '/blocks',
    '/keys',
    '/sessions',
    '/prices',
    '/orgs',
  ])
    await journey(
      async (page) => {
        const buttons = await page.getByRole('button').allTextContents()
        const changing = buttons.filter((text) =>
          /^(New|Set|Edit|Block|Unblock|Revoke|Rotate|Remove|End$|Limit)/.test(text),
        )
        assert.deepEqual(changing, [])
        assert.equal(await page.getByRole('link', { name: 'Logins' }).count(), 0)
      },
      { login: 'login_3', path },
    )
})

test('numbers that cannot be read again are called stale', withMock, () =>
  journey(
    async (page, context) => {
      await context.addCookies([{ name: 'mock', value: 'error', url }])
      await page.getByRole('button', { name: /Updated at/ }).click()
      await page.getByRole('button', { name: /Stale, of .* UTC/ }).waitFor({ timeout: 20_000 })
      await page.getByRole('table', { name: 'Blocked users' }).waitFor()
    },
    { path: '/blocks', quiet: false },
  ),
)

test('coming back to the window asks again', () =>
  journey(
    async (page) => {
      const asked = page.waitForRequest(/\/admin\/blocked/, { timeout: 10_000 })
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })))
      await asked
    },
    { path: '/blocks' },
  ))

test('the theme is remembered, and set before the first paint', () =>
  journey(
    async (page) => {
      const dark = () => page.evaluate(() => document.documentElement.classList.contains('dark'))
      assert.equal(await dark(), false)
      await page.getByRole('button', { name: 'Use the dark theme' }).click()
      assert.equal(await dark(), true)
      await page.reload({ waitUntil: 'commit' })
      await page.waitForFunction(() => document.body !== null)
      assert.equal(await dark(), true)
    },
    { colorScheme: 'light' },
  ))

test('the keyboard skips to the content', () =>
  journey(async (page) => {
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  }))

test('the first visit says how to connect', withMock, async () => {
  const context = await browser.newContext()
  await signIn(context, url, 'login_1', 'empty')
  const page = await context.newPage()
  await page.goto(url)
  await page.getByRole('heading', { name: 'Connect your application' }).waitFor()
  await page.getByText('base_url="http://127.0.0.1:8080/v1"').waitFor()
  await context.close()
})
