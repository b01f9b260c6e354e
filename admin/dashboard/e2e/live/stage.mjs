// The running tokenist that the journeys are about, and the ways into it. tests/dashboard.rs starts it and says where it
// is; TOKENIST_URL, TOKENIST_PROXY and TOKENIST_TOKEN do so for a journey by hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBrowser, openPage, settled } from '../kit.mjs'

/** How long anything may take that should happen at once, on a busy machine. */
export const PATIENCE_MS = 60_000

export const stage = {
  url: given('TOKENIST_URL'),
  proxy: given('TOKENIST_PROXY'),
  token: given('TOKENIST_TOKEN'),
}

function given(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: \`cargo test --test dashboard\` runs the journeys`)
  return value
}

let browser
export async function useBrowser() {
  browser ??= await openBrowser()
  return browser
}
/** After the last test of a program. */
export const closeBrowser = () => browser?.close()

/** A visitor who has shown a credential: the operator's token unless another is given. Its requests come from our page. */
export async function visitor({ token = stage.token, login, ...options } = {}) {
  const context = await (await useBrowser()).newContext({
    baseURL: stage.url,
    viewport: { width: 1440, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  })
  context.setDefaultTimeout(PATIENCE_MS)
  const [path, data] = login ? ['/auth/login', login] : ['/auth/session', { token }]
  const answer = await context.request.post(path, { data, headers: { origin: stage.url } })
  assert.equal(answer.status(), 200, await answer.text())
  return context
}

let operator

/** A test in which the operator opens a page and does something there; any trouble in the console fails it. */
export function journey(name, path, steps) {
  test(name, async () => {
    // One browser's profile for all, for a new one would fetch every script again.
    operator ??= await visitor()
    const { page, assertQuiet } = await openPage(operator)
    try {
      await page.goto(path)
      await settled(page)
      await steps(page)
      assertQuiet()
    } finally {
      await page.close()
    }
  })
}

/** Asks the API as the operator. */
export async function ask(method, path, body) {
  const response = await fetch(stage.url + path, {
    method,
    headers: { authorization: `Bearer ${stage.token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  })
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`)
  return response.json()
}

/** A table's rows as what they show by column. Names are whole, however much of them fits. */
export async function rowsOf(page, label) {
  const table = page.getByRole('table', { name: label, exact: true })
  await table.waitFor()
  return table.evaluate((node) => {
    const text = (cell) => cell.querySelector('[title]')?.title ?? cell.textContent.trim()
    const headers = [...node.querySelectorAll('thead th')].map((cell) => cell.textContent.trim())
    return [...node.querySelectorAll('tbody tr')].map((row) =>
      Object.fromEntries([...row.cells].map((cell, index) => [headers[index], text(cell)])),
    )
  })
}

export const userPage = (user) => `/users/detail?user=${encodeURIComponent(user)}`
export const orgPage = (org) => `/orgs/detail?org=${encodeURIComponent(org)}`
