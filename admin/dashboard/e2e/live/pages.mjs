// Every page with real data: what users and operators wrote stands there as text, nothing of it runs, no console
// complains, the policy of scripts is in force, and (AXE set, light and dark) everybody can use it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { assertAccessible, openPage, settled } from '../kit.mjs'
import { NASTY } from './cast.mjs'
import { Session } from './session.mjs'
import { ask, closeBrowser, orgPage, stage, useBrowser, userPage, visitor } from './stage.mjs'

const AXE = Boolean(process.env.AXE)
const { user, org, feature, reason, key, person } = NASTY
/** What each page shows of it. */
const PAGES = {
  '/?by=user': [user, org],
  '/?by=feature': [feature],
  '/usage?by=user,org,feature': [user, org, feature],
  [`/usage?by=feature&org=${encodeURIComponent(org)}`]: [feature],
  '/sessions': [user, org, feature],
  '/sessions?view=past': [user, feature],
  '/users': [user, org],
  [userPage(user)]: [user, org, feature, `Reason: ${reason}`, key],
  '/orgs': [org],
  [orgPage(org)]: [org, user],
  '/features': [feature],
  '/limits': [user, org],
  '/blocks': [user, reason],
  '/keys': [key, user],
  '/prices': [`priced ${user}`, 'gpt-realtime'],
  '/reference': ['/admin/users/{id}/threshold'],
  '/audit': [user, org, reason],
  '/logins': [person],
  '/settings': [],
  '/try': ['Proxy'],
  '/nowhere': [],
}
const DIALOGS = {
  '/limits': 'Set a limit',
  '/blocks': 'Block a user',
  '/keys': 'New key',
  '/logins': 'New login',
  '/prices': 'Set a price',
  '/users': 'New user',
}
let session

before(async () => {
  const id = encodeURIComponent(user)
  await ask('PUT', `/admin/limits/user/${id}`, { maxCostUsd: 5 })
  await ask('PUT', `/admin/limits/org/${encodeURIComponent(org)}`, { maxTotalTokens: 1e12 })
  await ask('POST', '/auth/api-keys', { name: key, userId: user })
  await ask('PUT', '/admin/prices', { model: `priced ${user}`, usdPerMinute: 1 })
  await ask('POST', '/admin/logins', {
    email: 'nasty@example.test',
    password: 'whatever it takes',
    role: 'operator',
    displayName: person,
  })
  // A block ends the sessions that there are, so the one that is to be seen belongs to somebody else.
  await ask('POST', `/admin/users/${id}/block`, { reason })
  session = await Session.open({ user: `${user} again`, org, feature })
})
after(async () => {
  await session.leave()
  await closeBrowser()
})

for (const theme of AXE ? ['light', 'dark'] : ['light'])
  test(`every page in ${theme}`, async (t) => {
    const context = await visitor({ colorScheme: theme })
    for (const [path, texts] of Object.entries(PAGES))
      await t.test(path, async () => {
        const { page, assertQuiet } = await openPage(context)
        const response = await page.goto(path)
        assert.match(response.headers()['content-security-policy'], /script-src 'self' 'sha256-/)
        await settled(page)
        const main = page.getByRole('main')
        for (const text of texts) await main.getByText(text).first().waitFor()
        assert.equal(await main.locator('img, iframe, script, b, svg[onload]').count(), 0)
        if (AXE) await assertAccessible(page)
        if (path !== '/nowhere') assertQuiet()
        await page.close()
      })
    await context.close()
  })

if (AXE) {
  test('every dialog', async (t) => {
    const context = await visitor({ colorScheme: 'light' })
    const { page, assertQuiet } = await openPage(context)
    for (const [path, button] of Object.entries(DIALOGS))
      await t.test(button, async () => {
        await page.goto(path)
        await page.getByRole('button', { name: button }).click()
        const dialog = page.getByRole('dialog')
        await dialog.waitFor()
        await assertAccessible(page)
        await page.keyboard.press('Escape')
        await dialog.waitFor({ state: 'detached' })
      })
    assertQuiet()
    await context.close()
  })

  test('the theme is remembered, and set before the first paint', async () => {
    const context = await visitor({ colorScheme: 'light' })
    const { page, assertQuiet } = await openPage(context)
    const dark = () => page.evaluate(() => document.documentElement.classList.contains('dark'))
    await page.goto('/')
    assert.equal(await dark(), false)
    await page.getByRole('button', { name: 'Use the dark theme' }).click()
    assert.equal(await dark(), true)
    await page.reload({ waitUntil: 'commit' })
    await page.waitForFunction(() => document.body !== null)
    assert.equal(await dark(), true)
    assertQuiet()
    await context.close()
  })

  test('the keyboard skips to the content', async () => {
    const context = await visitor()
    const page = await context.newPage()
    await page.goto('/')
    await settled(page)
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
    await context.close()
  })
}

// The last, for it shuts this address out for a while.
test('who guesses passwords is told in words to wait', async () => {
  const context = await (await useBrowser()).newContext({ baseURL: stage.url })
  const page = await context.newPage()
  await page.goto('/signin')
  if (AXE) {
    await assertAccessible(page)
    await page.getByRole('button', { name: 'Use the dark theme' }).click()
    await assertAccessible(page)
  }
  await page.getByLabel('Email', { exact: true }).fill('owner@example.test')
  await page.getByLabel('Password', { exact: true }).fill('a guess')
  const guess = (n) =>
    context.request.post('/auth/session', {
      data: { token: `guess-number-${n}` },
      headers: { origin: stage.url },
    })
  await Promise.all(Array.from({ length: 12 }, (_, n) => guess(n)))
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('alert').filter({ hasText: 'Too many wrong credentials, try again later' }).waitFor()
  await context.close()
})
