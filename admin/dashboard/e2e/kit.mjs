// What every journey needs: a browser, a page that is watched, and the rules of accessibility.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const openBrowser = (...more) =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...ARGUMENTS, ...more],
  })

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

/** Waits until the page has left its skeletons. */
export async function settled(page) {
  await page.getByRole('heading', { level: 1 }).waitFor()
  await page.waitForFunction(() => document.querySelector('main .animate-pulse') === null)
}

/** No rule of axe is broken, once colours that are changing have changed. */
export async function assertAccessible(page) {
  await page.evaluate(() => {
    const changing = document.getAnimations().filter((animation) => animation instanceof CSSTransition)
    return Promise.allSettled(changing.map((animation) => animation.finished))
  })
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
