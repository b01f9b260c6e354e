// What operators do while traffic runs, and what it does to live sessions.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { openPage, settled } from '../kit.mjs'
import { CAST, NASTY } from './cast.mjs'
import { Session, startTraffic } from './session.mjs'
import { ask, closeBrowser, journey, rowsOf, stage, useBrowser, userPage, visitor } from './stage.mjs'

const OWNER = { email: 'owner@example.test', password: 'correct horse battery' }
const VIEWER = { email: 'viewer@example.test', password: 'only looks at things' }
let traffic

after(async () => {
  await closeBrowser()
  await traffic?.stop()
})

test('who shows the operator’s token lands where they were going, and makes the first login', async () => {
  const context = await (await useBrowser()).newContext({ baseURL: stage.url })
  const page = await context.newPage()
  await page.goto('/logins')
  await page.waitForURL(/\/signin\?next=%2Flogins/)
  await page.getByText('Operator’s token').click()
  await page.getByLabel('Token', { exact: true }).fill(stage.token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL('/logins')
  await page.getByRole('button', { name: 'New login' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Email').fill(OWNER.email)
  await dialog.getByLabel('Name').fill('Olga')
  await dialog.getByLabel('Role').selectOption('owner')
  await dialog.getByLabel('Password').fill(OWNER.password)
  await dialog.getByRole('button', { name: 'Make login' }).click()
  await page.getByRole('table', { name: 'Logins' }).getByText('Olga').waitFor()
  await context.close()
})

test('a password signs in, with a cookie that scripts and other sites cannot have', async () => {
  const context = await (await useBrowser()).newContext({ baseURL: stage.url })
  const page = await context.newPage()
  await page.goto('/usage?by=org')
  await page.waitForURL(/\/signin\?next=%2Fusage%3Fby%3Dorg/)
  await page.getByLabel('Email', { exact: true }).fill(OWNER.email)
  await page.getByLabel('Password', { exact: true }).fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('alert').filter({ hasText: 'Invalid email or password' }).waitFor()
  await page.getByLabel('Password', { exact: true }).fill(OWNER.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL('/usage?by=org')
  const [cookie, ...others] = await context.cookies()
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, others], [true, 'Strict', []])
  assert.equal(await page.evaluate(() => document.cookie), '')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL('/signin')
  assert.deepEqual(await context.cookies(), [])
  await context.close()
})

journey('the first visit says how to connect; then the cost rises while sessions run', '/', async (page) => {
  await page.getByRole('heading', { name: 'Connect your application' }).waitFor()
  await page.getByText('base_url="http://127.0.0.1:8080/v1"').waitFor()
  traffic = await startTraffic()
  const cost = page.getByRole('definition').first()
  let seen = '$0.00'
  for (const _ of ['from nothing', 'and on']) {
    await page.waitForFunction((old) => document.querySelector('dl dd').title !== old, seen)
    const now = await cost.getAttribute('title')
    assert.ok(dollars(now) > dollars(seen), `${now} after ${seen}`)
    seen = now
  }
  await page.getByRole('heading', { name: 'Connect your application' }).waitFor({ state: 'detached' })
  await page.getByRole('table', { name: 'Top users by cost' }).getByText('ann').first().waitFor()
})

const dollars = (text) => Number(text.replace(/[$,]/g, ''))

journey('filters live in the address and outlast a reload', '/usage', async (page) => {
  await page.getByRole('button', { name: 'User' }).click()
  await page.getByText('Last 24 h').click()
  await page.getByLabel('Filter by org').fill('globex')
  await page.keyboard.press('Enter')
  const filtered = (address) =>
    ['by=model%2Cuser', 'period=rolling_24h', 'org=globex'].every((part) => address.search.includes(part))
  await page.waitForURL(filtered)
  await page.reload()
  await settled(page)
  assert.equal(await page.getByRole('button', { name: /^user/i }).getAttribute('aria-pressed'), 'true')
  assert.ok(await page.getByRole('radio', { name: 'Last 24 h' }).isChecked())
  assert.equal(await page.getByLabel('Filter by org').inputValue(), 'globex')
  const theirs = CAST.filter(({ org }) => org === 'globex').map(({ user }) => user)
  assert.deepEqual((await rowsOf(page, 'Usage')).map((row) => row.User).sort(), theirs.sort())
  await page.goBack()
  await page.waitForURL((address) => !address.search.includes('org='))
  await page.getByRole('table', { name: 'Usage' }).getByText('ann').first().waitFor()
})

journey('coming back to the window asks again', '/usage', async (page) => {
  // Without a beat of its own, nothing else makes the page ask.
  await page.addInitScript(() => {
    window.setInterval = () => 0
  })
  await page.reload()
  await settled(page)
  const asked = page.waitForRequest(/\/admin\/usage/)
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })))
  await asked
})

journey('a limit that is set ends the user’s live session with 4004', userPage('spender'), async (page) => {
  const spender = { user: 'spender', org: 'journeys', feature: 'limits' }
  const session = await Session.open(spender)
  await session.turn()
  await page.getByRole('button', { name: 'Edit limit' }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Warn only').click()
  await dialog.getByText('nothing is ended or refused').waitFor()
  await dialog.getByLabel('Tokens').fill('1')
  await dialog.getByRole('button', { name: 'Save limit' }).click()
  await page.getByText('Reached, warned').waitFor()
  await session.turn()
  await page.getByRole('button', { name: 'Edit limit' }).first().click()
  await dialog.getByText('Enforce', { exact: true }).click()
  await dialog.getByRole('button', { name: 'Save limit' }).click()
  await dialog.getByText('One live session ends at once').waitFor()
  await dialog.getByRole('button', { name: 'Set it and end one live session' }).click()
  const { code, failure } = await session.end()
  assert.deepEqual([code, failure.code], [4004, 'token_limit_reached'])
  await page.getByText('1 tokens per month').first().waitFor()
  await page.getByText('Reached, refused').waitFor()
  assert.equal((await Session.refused(spender)).code, 4004)
  await page.reload()
  await page
    .getByText(/Limit reached · 4004/)
    .first()
    .waitFor()
})

journey('a user who is blocked loses the live session with 4003, and is told why', '/users', async (page) => {
  const mallory = { user: 'mallory', org: 'journeys' }
  const session = await Session.open(mallory)
  await session.turn()
  await page.getByRole('searchbox', { name: /Search by id/ }).fill('mallory')
  await page.waitForURL(/search=mallory/)
  await page.getByRole('link', { name: 'mallory' }).click()
  await page.getByRole('button', { name: 'Block', exact: true }).click()
  await page.getByLabel('Reason').fill(NASTY.reason)
  await page.getByRole('button', { name: 'Block user' }).click()
  const { code, failure } = await session.end()
  assert.equal(code, 4003)
  assert.ok(failure.message.includes(NASTY.reason), failure.message)
  await page.getByText(`Reason: ${NASTY.reason}`).waitFor()
  assert.equal((await Session.refused(mallory)).code, 4003)
  await page.getByRole('link', { name: 'Blocklist' }).click()
  await page.getByRole('button', { name: 'Unblock mallory' }).click()
  await page.getByText('Nobody is blocked').waitFor()
  await (await Session.open(mallory)).leave()
})

journey('a live session is ended with 4003 after a confirmation', '/sessions', async (page) => {
  const session = await Session.open({ user: 'idler', org: 'journeys' })
  await session.turn()
  await page.getByRole('button', { name: 'End the session of idler' }).click()
  await page.getByRole('button', { name: 'End session' }).click()
  assert.equal((await session.end()).code, 4003)
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.getByText('Past', { exact: true }).click()
  await page
    .getByRole('row', { name: /idler.*Blocked or ended · 4003/ })
    .first()
    .waitFor()
})

journey('a key is shown once, opens sessions, and opens none once it has ended', '/keys', async (page) => {
  const holder = { user: 'holder', feature: 'keys' }
  await page.getByRole('button', { name: 'New key' }).click()
  await page.getByLabel('Name').fill('backend')
  await page.getByLabel('Bound to user').fill('holder')
  await page.getByRole('button', { name: 'Make key' }).click()
  const first = await takeKey(page, 'Key backend is made')
  const before = await Session.open(holder, first)
  await before.turn()

  await page.getByRole('button', { name: 'Rotate backend' }).click()
  await page.getByLabel('Older keys end').selectOption({ label: 'At once' })
  await page.getByRole('button', { name: 'Rotate key' }).click()
  const second = await takeKey(page, 'The new key')
  assert.equal((await before.end()).code, 4001)
  assert.equal((await Session.refused(holder, first)).code, 4001)
  const session = await Session.open(holder, second)
  await session.turn()

  await page.getByRole('button', { name: 'Revoke backend' }).click()
  await page.getByRole('button', { name: 'Revoke key' }).click()
  assert.equal((await session.end()).code, 4001)
  assert.equal((await Session.refused(holder, second)).code, 4001)
  await page.getByText('No keys yet').waitFor()
  await page.getByLabel('Which keys').selectOption('true')
  await page.waitForURL(/ended=true/)
  assert.deepEqual(
    (await rowsOf(page, 'Keys')).map((row) => row.State),
    ['Revoked', 'Revoked'],
  )
})

async function takeKey(page, title) {
  const dialog = page.getByRole('dialog', { name: title })
  const key = await dialog.locator('code').textContent()
  assert.match(key, /^ug_[0-9a-f]{64}$/)
  await dialog.getByRole('button', { name: 'I have copied it' }).click()
  await dialog.waitFor({ state: 'detached' })
  assert.ok(!(await page.content()).includes(key))
  return key
}

test('a viewer sees everything, is offered no change, and is refused one', async () => {
  await ask('POST', '/admin/logins', { ...VIEWER, role: 'viewer' })
  const context = await visitor({ login: VIEWER })
  const { page, assertQuiet } = await openPage(context)
  for (const path of [
    '/',
    '/usage',
    '/sessions',
    '/users',
    userPage('ann'),
    '/orgs',
    '/orgs/detail?org=acme',
  ].concat(['/features', '/limits', '/blocks', '/keys?ended=true', '/audit', '/settings'])) {
    await page.goto(path)
    await settled(page)
    await page.getByText('Viewer, reads only').waitFor()
    const buttons = await page.getByRole('main').getByRole('button').allTextContents()
    const changing = buttons.filter((text) =>
      /^(New|Set|Edit|Block|Unblock|Revoke|Rotate|Remove|End$|Limit)/.test(text),
    )
    assert.deepEqual(changing, [], path)
    assert.equal(await page.getByRole('link', { name: 'Logins' }).count(), 0)
  }
  assertQuiet()
  const { paths } = JSON.parse(readFileSync(new URL('../../../openapi.json', import.meta.url)))
  let refused = 0
  for (const [path, methods] of Object.entries(paths))
    for (const method of Object.keys(methods)) {
      if (method === 'get' || !/^\/(admin|auth\/api-keys)/.test(path)) continue
      const concrete = path.replace(/\{kind\}/, 'user').replace(/\{\w+\}/g, 'ann')
      const answer = await context.request.fetch(concrete, {
        method,
        data: {},
        headers: { origin: stage.url },
      })
      assert.equal(answer.status(), 403, `${method} ${path}`)
      refused += 1
    }
  assert.ok(refused > 10, `${refused} ways to change something`)
  await context.close()
})

test('who signs out everywhere is out in the other browser as well', async () => {
  const [here, there] = [await visitor({ login: VIEWER }), await visitor({ login: VIEWER })]
  const { page } = await openPage(here)
  await page.goto('/')
  await page.getByRole('button', { name: /^Account:/ }).click()
  await page.getByRole('menuitem', { name: 'Sign out everywhere' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Sign out everywhere' }).click()
  await page.waitForURL('/signin')
  for (const context of [here, there]) {
    assert.equal((await context.request.get('/auth/me')).status(), 401)
    await context.close()
  }
})

test('a page of another origin changes nothing with the operator’s cookie', async () => {
  const context = await visitor()
  const block = (origin) =>
    context.request.post('/admin/users/victim/block', { data: {}, headers: { origin } })
  for (const origin of ['http://evil.example', 'null', stage.url.replace('127.0.0.1', 'localhost')])
    assert.equal((await block(origin)).status(), 403, origin)
  assert.equal((await context.request.post('/admin/users/victim/block', { data: {} })).status(), 403)
  assert.deepEqual((await ask('GET', '/admin/blocked')).blocked, [])
  await context.close()
})
