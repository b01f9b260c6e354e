// What the pages say was used is what the provider says it has delivered: every count, and the cost to the last digit
// that is shown. Traffic has ended; DELIVERED holds the provider's account of it, in nano-dollars, by tests/dashboard.rs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { settled } from '../kit.mjs'
import { ask, closeBrowser, journey, orgPage, rowsOf, userPage } from './stage.mjs'

/** One row for each user, org, feature and model. */
const DELIVERED = JSON.parse(process.env.DELIVERED ?? '[]')
const TOTAL = sum(DELIVERED)
const LABELS = { user: 'User', org: 'Org', feature: 'Feature', model: 'Model', provider: 'Provider' }

after(closeBrowser)

test('there is something to compare', () => {
  assert.ok(TOTAL.tokens > 0 && TOTAL.costNano > 0)
  for (const by of ['user', 'org', 'feature', 'model']) assert.ok(grouped([by]).length > 1, by)
})

journey('the overview', '/?period=total', async (page) => {
  const [cost, tokens, users] = await statsOf(page)
  assert.deepEqual([cost, tokens, users], [usd(TOTAL), `${count(TOTAL.tokens)} tokens`, count(USERS.length)])
  for (const by of ['user', 'org', 'feature', 'model', 'provider']) {
    await page.getByLabel('Group by').selectOption(by)
    await page.getByRole('heading', { name: `Use by ${by}` }).waitFor()
    assert.deepEqual(await legendOf(page), legend(by))
  }
  const dearest = grouped(['user']).sort((a, b) => b.costNano - a.costNano)
  const top = await rowsOf(page, 'Top users by cost')
  assert.ok(top.length > 0)
  assert.deepEqual(
    top.map((row) => [row.User, row.Tokens, row.Cost]),
    dearest.slice(0, top.length).map((row) => [row.user, count(row.tokens), usd(row)]),
  )
})

for (const by of [['user'], ['org'], ['feature'], ['model'], ['provider'], ['user', 'feature', 'model']])
  journey(`the explorer by ${by.join(', ')}`, `/usage?period=total&by=${by.join(',')}`, async (page) => {
    await page
      .getByRole('heading', { name: `${usd(TOTAL)} · ${count(TOTAL.tokens)} tokens` })
      .waitFor({ state: 'visible' })
    await page.getByText(`${count(TOTAL.requests)} responses`).waitFor()
    assert.deepEqual(sorted(await rowsOf(page, 'Usage')), sorted(shown(by)))
    assert.deepEqual(await legendOf(page), legend(by[0]))
  })

journey(
  'the explorer, filtered',
  '/usage?period=total&by=user&org=acme&model=gpt-realtime-mini',
  async (page) => {
    const rows = shown(['user'], (row) => row.org === 'acme' && row.model === 'gpt-realtime-mini')
    assert.ok(rows.length > 0)
    assert.deepEqual(sorted(await rowsOf(page, 'Usage')), sorted(rows))
  },
)

journey('the table as CSV, which starts no formula', '/usage?period=total&by=user,org', async (page) => {
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'CSV' }).click()
  const [header, ...records] = parseCsv(readFileSync(await (await download).path(), 'utf8'))
  assert.deepEqual(header.slice(0, 8), [
    ...['user', 'display_name', 'org', 'input_tokens', 'output_tokens', 'total_tokens', 'requests'],
    'cost_usd',
  ])
  const inert = (text) => (/^[=+\-@]/.test(text) ? `'${text}` : text)
  assert.deepEqual(
    sorted(records.map((record) => record.slice(0, 8))),
    sorted(
      grouped(['user', 'org']).map((row) => [
        ...[inert(row.user), '', inert(row.org ?? '')],
        ...[row.input, row.output, row.tokens, row.requests].map(String),
        String(row.costNano / 1e9),
      ]),
    ),
  )
})

journey('the list of users', '/users?period=total', async (page) => {
  const rows = (await rowsOf(page, 'Users')).filter((row) => row.Tokens !== '0')
  assert.deepEqual(
    sorted(rows.map(({ User, Tokens, Cost }) => ({ User, Tokens, Cost }))),
    sorted(grouped(['user']).map((row) => ({ User: row.user, Tokens: count(row.tokens), Cost: usd(row) }))),
  )
})

const USERS = grouped(['user'])
for (const { user } of USERS)
  journey(`the page of ${user}`, `${userPage(user)}&period=total`, async (page) => {
    const theirs = (row) => row.user === user
    const total = sum(DELIVERED.filter(theirs))
    const windows = page.getByRole('main').locator('dl').first()
    for (const window of ['Last 24 h', 'All time'])
      await windows
        .locator('div', { hasText: `${window}${usd(total)}${count(total.tokens)} tokens` })
        .waitFor()
    assert.deepEqual(
      sorted(await rowsOf(page, 'Use by model and feature')),
      sorted(shown(['model', 'feature'], theirs)),
    )
    assert.deepEqual(await legendOf(page), legend('model', theirs))
    const past = await rowsOf(page, 'Past sessions of this user')
    assert.equal(
      past.reduce((tokens, row) => tokens + Number(row.Tokens.replaceAll(',', '')), 0),
      total.tokens,
    )
  })

for (const [by, path, title] of [
  ['org', '/orgs', 'Orgs'],
  ['feature', '/features', 'Features'],
])
  journey(`the list of ${title.toLowerCase()}`, `${path}?period=total`, async (page) => {
    const rows = (await rowsOf(page, title)).map(({ Actions, ...row }) => row)
    assert.deepEqual(sorted(rows), sorted(shown([by])))
    assert.deepEqual(await legendOf(page), legend(by))
  })

for (const { org } of grouped(['org']).filter((row) => row.org !== null))
  journey(`the page of org ${org}`, `${orgPage(org)}&period=total`, async (page) => {
    const theirs = (row) => row.org === org
    const total = sum(DELIVERED.filter(theirs))
    const users = shown(['user'], theirs)
    assert.deepEqual(await statsOf(page), [
      ...[usd(total), count(total.tokens), count(users.length), count(total.requests)],
    ])
    assert.deepEqual(sorted(await rowsOf(page, 'Users of the org')), sorted(users))
    assert.deepEqual(await legendOf(page), legend('model', theirs))
  })

journey('the sessions that are over', '/sessions?view=past', async (page) => {
  const tokens = {}
  for (const row of await rowsOf(page, 'Past sessions'))
    tokens[row.User] = (tokens[row.User] ?? 0) + Number(row.Tokens.replaceAll(',', ''))
  assert.deepEqual(
    sorted(Object.entries(tokens).filter(([, count]) => count > 0)),
    sorted(USERS.map((row) => [row.user, row.tokens])),
  )
  await page.getByText('Live', { exact: true }).click()
  await page.getByText('No live sessions').waitFor()
})

test('what a limit counts', async () => {
  await ask('PUT', '/admin/limits/org/globex', { maxCostUsd: 1000, window: 'total' })
})
journey('the limits', '/limits', async (page) => {
  const of = (theirs) => sum(DELIVERED.filter(theirs))
  const [spender, globex] = [of((row) => row.user === 'spender'), of((row) => row.org === 'globex')]
  const used = Object.fromEntries((await rowsOf(page, 'Limits')).map((row) => [row.Holder, row.Used]))
  for (const [holder, { tokens, costNano }] of Object.entries({ spender, globex }))
    assert.ok(used[holder].includes(`${usd({ costNano })}, ${count(tokens)} tokens`), JSON.stringify(used))
})

/** Sums of what was delivered, one for each combination of these. */
function grouped(by, only = () => true) {
  const groups = new Map()
  for (const row of DELIVERED.filter(only)) {
    const named = Object.fromEntries(by.map((each) => [each, row[each]]))
    const key = JSON.stringify(named)
    groups.set(key, { named, rows: [...(groups.get(key)?.rows ?? []), row] })
  }
  return [...groups.values()].map(({ named, rows }) => ({ ...named, ...sum(rows) }))
}

function sum(rows) {
  const total = (of) => rows.reduce((sum, row) => sum + of(row), 0)
  return {
    requests: total((row) => row.requests),
    input: total((row) => row.input),
    output: total((row) => row.output),
    tokens: total((row) => row.input + row.output),
    costNano: total((row) => row.costNano),
  }
}

/** The rows that a table of usage should show. */
function shown(by, only) {
  return grouped(by, only).map((row) => ({
    ...Object.fromEntries(by.map((each) => [LABELS[each], row[each] ?? 'none'])),
    Responses: count(row.requests),
    'Tokens in': count(row.input),
    'Tokens out': count(row.output),
    Tokens: count(row.tokens),
    Cost: usd(row),
  }))
}

/** The sums under a chart: those of the dearest, and of the others together. */
function legend(by, only) {
  const groups = grouped([by], only).sort((a, b) => b.costNano - a.costNano)
  const dearest = groups.slice(0, 8).map((row) => [row[by] ?? `No ${by}`, usd(row)])
  const costNano = groups.slice(8).reduce((sum, row) => sum + row.costNano, 0)
  return Object.fromEntries(costNano > 0 ? [...dearest, ['All others', usd({ costNano })]] : dearest)
}

async function legendOf(page) {
  const entries = page.getByRole('main').locator('ul.flex-wrap').first().locator('li')
  await entries.first().waitFor()
  return Object.fromEntries(
    await entries.evaluateAll((nodes) =>
      nodes.map((node) => [node.children[1].textContent, node.children[2].textContent]),
    ),
  )
}

/** The large figures, whole where they are shortened. */
async function statsOf(page) {
  await settled(page)
  const stats = page.getByRole('main').locator('dl').first().locator('dd:first-of-type')
  return stats.evaluateAll((nodes) => nodes.map((node) => node.title || node.textContent))
}

const sorted = (rows) => rows.map((row) => JSON.stringify(row)).sort()

function parseCsv(text) {
  return text
    .trim()
    .split('\n')
    .map((line) =>
      [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)]
        .map(([, cell]) => (cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell))
        .slice(0, -1),
    )
}

// As src/ui/format.ts writes them.
const count = (n) => new Intl.NumberFormat('en-US').format(n)
function usd({ costNano }) {
  const dollars = costNano / 1e9
  const digits = dollars >= 1 ? 2 : 4
  return new Intl.NumberFormat('en-US', {
    style: 'currency',
    currency: 'USD',
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(dollars)
}
