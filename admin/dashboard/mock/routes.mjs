// The contract's routes, answered from the world and the state. A handler gets {query, path, body, me} and
// returns a body, or [status, body].
import { randomBytes } from 'node:crypto'
import * as state from './state.mjs'
import { before, iso, rowsBy, series, spanOf, sum, zero } from './usage.mjs'
import { close, live, past, users } from './world.mjs'

const secret = () => `ug_${randomBytes(32).toString('hex')}`
const page = (rows, query, fallback = 100) =>
  rows.slice(Number(query.get('offset') ?? 0)).slice(0, Number(query.get('limit') ?? fallback))
const matches = (text, search) => !search || (text ?? '').toLowerCase().includes(search.toLowerCase())
const of = (period) => spanOf(new URLSearchParams({ period }))

// ---- users
function userOf(user, usage, period) {
  const own = state.limits.get(`user ${user.id}`)
  const { maxCostUsd, maxTotalTokens, window } = (own ?? { limit: state.fallback }).limit
  const block = state.blocks.get(user.id)
  return {
    userId: user.id,
    name: user.name,
    email: user.email,
    orgId: user.org,
    period,
    usage,
    threshold: {
      ...(maxCostUsd !== null && { maxCostUsd }),
      ...(maxTotalTokens !== null && { maxTotalTokens }),
      window,
    },
    thresholdIsDefault: !own,
    ...reachOf(user.id),
    blocked: Boolean(block),
    blockEntry: block ? { endUserId: user.id, ...block } : null,
    sessions: live.filter((each) => each.combo.user === user.id).length,
  }
}
function reachOf(id) {
  const { state: near, limit, used, resetsAt } = holderOf('user', id)
  if (near !== 'reached' || limit.mode !== 'enforce') return { resetsAt, limitReached: null }
  const cost = limit.maxCostUsd !== null && used.costUsd >= limit.maxCostUsd
  const limitReached = cost
    ? { measure: 'cost_usd', used: used.costUsd, limit: limit.maxCostUsd }
    : { measure: 'tokens', used: used.tokens, limit: limit.maxTotalTokens }
  return { resetsAt, limitReached }
}
const known = (id) => users.find((user) => user.id === id) ?? { id, name: null, email: null, org: null }

function listUsers({ query }) {
  const period = query.get('period') ?? 'monthly'
  const used = new Map(rowsBy(of(period), ['user']).map((row) => [row.user, row.usage]))
  const sort = query.get('sort') ?? 'id'
  const rank = {
    id: (row) => row.userId,
    cost: (row) => row.usage.costUsd,
    tokens: (row) => row.usage.totalTokens,
    lastUpdated: (row) => row.usage.lastUpdated ?? '',
  }[sort]
  const sign = query.get('order') === 'desc' ? -1 : 1
  const rows = users
    .filter((user) => [user.id, user.name, user.email].some((text) => matches(text, query.get('search'))))
    .filter((user) => !query.get('org') || user.org === query.get('org'))
    .map((user) => userOf(user, used.get(user.id) ?? zero(), period))
    .filter((row) => query.get('blocked') !== 'true' || row.blocked)
    .sort((a, b) => (rank(a) < rank(b) ? -sign : rank(a) > rank(b) ? sign : 0))
  const start = Number(query.get('cursor') ?? 0)
  const end = start + Number(query.get('limit') ?? 100)
  return { users: rows.slice(start, end), nextCursor: end < rows.length ? String(end) : null }
}

// ---- limits
function holderOf(kind, id) {
  const own = state.limits.get(`${kind} ${id}`)
  const limit = own?.limit ?? (kind === 'user' ? state.fallback : state.noLimit)
  const span = of(limit.window)
  const { usage } =
    kind === 'key' ? { usage: { costUsd: 91.2, totalTokens: 4_020_111 } } : sum(span, { [kind]: id })
  const shares = [
    limit.maxCostUsd && usage.costUsd / limit.maxCostUsd,
    limit.maxTotalTokens && usage.totalTokens / limit.maxTotalTokens,
  ].filter((each) => typeof each === 'number')
  const percent = shares.length > 0 ? Math.max(...shares) * 100 : null
  const name =
    kind === 'user'
      ? known(id).name
      : kind === 'key'
        ? (state.keys.find((key) => key.id === id)?.name ?? null)
        : null
  return {
    kind,
    id,
    name,
    limit,
    isDefault: !own,
    used: { costUsd: usage.costUsd, tokens: usage.totalTokens },
    percent,
    state: percent === null || percent < 80 ? 'ok' : percent < 100 ? 'warned' : 'reached',
    resetsAt: limit.window === 'daily' || limit.window === 'monthly' ? iso(span.to) : null,
  }
}
function listLimits({ query }) {
  const own = [...state.limits.values()]
  const bound = users
    .filter((user) => query.get('defaults') === 'true' && !state.limits.has(`user ${user.id}`))
    .map((user) => ({ kind: 'user', id: user.id }))
  const all = [...own, ...bound]
    .filter((each) => !query.get('kind') || each.kind === query.get('kind'))
    .map((each) => holderOf(each.kind, each.id))
    .filter(
      (each) =>
        matches(each.id, query.get('search')) ||
        (query.get('search') && matches(each.name, query.get('search'))),
    )
  if (query.get('sort') === 'used') all.sort((a, b) => (b.percent ?? -1) - (a.percent ?? -1))
  return { default: state.fallback, limits: page(all, query), total: all.length }
}
function putLimit({ path: [kind, id], query, body, actor }) {
  const old = holderOf(kind, id).limit
  if (body.maxCostUsd < 0)
    return [400, { error: [{ path: ['maxCostUsd'], message: 'must not be negative', code: 'too_small' }] }]
  const limit = { ...state.noLimit, ...body }
  if (query.get('dryRun') === 'true') return trialOf(kind, id, { kind, id, limit })
  state.limits.set(`${kind} ${id}`, { kind, id, limit })
  state.note(actor, `${kind}.limit`, kind, id, old, state.limits.get(`${kind} ${id}`).limit)
  const now = holderOf(kind, id)
  if (now.state === 'reached' && now.limit.mode === 'enforce')
    for (const each of live.filter((one) => one.combo[kind] === id)) close(each, 4004)
  return now
}
/** As it would be, without a trace. */
function trialOf(kind, id, own) {
  const name = `${kind} ${id}`
  const before = state.limits.get(name)
  if (own) state.limits.set(name, own)
  else state.limits.delete(name)
  const withIt = holderOf(kind, id)
  if (before) state.limits.set(name, before)
  else state.limits.delete(name)
  const liveSessions = live.filter((one) => one.combo[kind] === id).length
  const ends = withIt.state === 'reached' && withIt.limit.mode === 'enforce'
  return { withIt, liveSessions, sessionsEnded: ends ? liveSessions : 0 }
}
function deleteLimit({ path: [kind, id], query, actor }) {
  if (query.get('dryRun') === 'true') return trialOf(kind, id, undefined)
  state.note(actor, `${kind}.limit`, kind, id, holderOf(kind, id).limit, null)
  state.limits.delete(`${kind} ${id}`)
  return holderOf(kind, id)
}

// ---- blocks, keys
function block({ path: [id], body, actor }) {
  state.blocks.set(id, { blockedAt: iso(Date.now()), ...body })
  state.note(actor, 'user.block', 'user', id, null, body)
  for (const each of live.filter((one) => one.combo.user === id)) close(each, 4003)
  return { success: true, userId: id, blocked: true, ...body }
}
function unblock({ path: [id], actor }) {
  const wasBlocked = state.blocks.delete(id)
  state.note(actor, 'user.unblock', 'user', id, null, null)
  return { success: true, userId: id, wasBlocked }
}
function makeKey(name, scopes, bound, actor) {
  const apiKey = secret()
  const key = {
    id: state.nextId('key'),
    name,
    scopes,
    keyHint: apiKey.slice(0, 12),
    userId: null,
    orgId: null,
    createdAt: iso(Date.now()),
    maker: { kind: actor.kind, id: actor.id, email: actor.id && emailOf(actor.id) },
    expiresAt: null,
    revokedAt: null,
    ...bound,
  }
  state.keys.unshift(key)
  state.note(actor, 'key.create', 'key', key.id, null, { name, scopes })
  return { ...key, apiKey }
}
const emailOf = (id) => state.logins.find((each) => each.id === id)?.email ?? null
function listKeys({ query }) {
  const all = state.keys.filter(
    (key) =>
      (query.get('ended') === 'true' || !key.revokedAt) &&
      (!query.get('userId') || key.userId === query.get('userId')),
  )
  return { keys: page(all, query), total: all.length }
}
function revokeKey({ path: [id], actor }) {
  const key = state.keys.find((each) => each.id === id)
  if (!key) return [404, { error: 'API key not found' }]
  key.revokedAt = iso(Date.now())
  state.note(actor, 'key.revoke', 'key', id, { revokedAt: null }, { revokedAt: key.revokedAt })
  return { success: true }
}
function rotate({ path: [id], body, actor }) {
  const end = iso(Date.now() + (body.graceSeconds ?? 0) * 1000)
  for (const key of state.keys.filter((each) => each.userId === id && !each.revokedAt)) key.revokedAt = end
  return [201, makeKey(id, ['proxy', 'sdk'], { userId: id }, actor)]
}
function makeUser({ body, actor }) {
  const id = body.userId ?? state.nextId('user')
  if (state.keys.some((key) => key.userId === id)) return [409, { error: `User ${id} has a key already` }]
  if (!users.some((user) => user.id === id))
    users.push({ id, name: body.name ?? null, email: null, org: body.orgId ?? null })
  const { apiKey, ...key } = makeKey(id, ['proxy', 'sdk'], { userId: id, orgId: body.orgId ?? null }, actor)
  return [
    201,
    {
      userId: id,
      name: body.name ?? null,
      email: null,
      orgId: body.orgId ?? null,
      apiKey,
      keyHint: key.keyHint,
      key,
    },
  ]
}

// ---- overview, explorer
function overview({ query }) {
  const span = spanOf(query)
  const by = query.get('by') ?? 'model'
  const earlier = before(span)
  const { usage, users: activeUsers } = sum(span)
  const then = earlier && sum(earlier)
  return {
    ...spoken(span),
    usage,
    unpricedCostUsd: unpricedOf(span),
    activeUsers,
    liveSessions: live.length,
    blockedUsers: state.blocks.size,
    previous: then && {
      from: iso(earlier.from),
      to: iso(earlier.to),
      usage: then.usage,
      activeUsers: then.users,
    },
    by,
    series: series(span, by),
    topUsers: rowsBy(span, ['user', 'org'])
      .slice(0, 10)
      .map((row) => ({ userId: row.user, displayName: row.displayName, orgId: row.org, usage: row.usage })),
  }
}
/** The one model that the price list does not know. */
const UNPRICED = ['voice-experimental-2026-11']
const unpricedOf = (span, filter = {}) =>
  rowsBy(span, ['model'], filter)
    .filter((row) => UNPRICED.includes(row.model))
    .reduce((all, row) => all + row.usage.costUsd, 0)
const spoken = (span) => ({
  period: span.period,
  periodLabel: span.periodLabel,
  from: iso(span.from),
  to: iso(span.to),
})

function explore({ query, accept }) {
  const span = spanOf(query)
  const by = (query.get('by') ?? '').split(',').filter(Boolean)
  const filter = {}
  for (const name of ['org', 'feature', 'provider', 'model'])
    if (query.get(name)) filter[name] = query.get(name)
  const named = [query.get('user'), ...(query.get('users')?.split(',') ?? [])].filter(Boolean)
  if (named.length > 0) filter.user = named
  const rows = rowsBy(span, by, filter)
  if (accept.includes('text/csv')) return { csv: csvOf(by, rows, span) }
  const grain = query.get('grain') ?? undefined
  return {
    ...spoken(span),
    by,
    usage: sum(span, filter).usage,
    unpricedCostUsd: unpricedOf(span, filter),
    rows: page(rows, query).map((row) => ({ ...row, unpriced: UNPRICED.includes(row.model) })),
    total: rows.length,
    series: grain === 'none' ? null : series(span, by[0] ?? 'model', filter, grain),
  }
}
function csvOf(by, rows, span) {
  const cell = (value) => {
    const text = value === null ? '' : String(value)
    return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`
  }
  const head = [
    ...by,
    'input_tokens',
    'output_tokens',
    'total_tokens',
    'requests',
    'cost_usd',
    'from_utc',
    'to_utc',
  ]
  return [
    head.join(','),
    ...rows.map((row) =>
      [
        ...by.map((name) => cell(row[name])),
        row.usage.inputTokens,
        row.usage.outputTokens,
        row.usage.totalTokens,
        row.usage.requests,
        row.usage.costUsd,
        iso(span.from),
        iso(span.to),
      ].join(','),
    ),
  ].join('\r\n')
}

// ---- refusals
function listRefusals({ query }) {
  const rows = state.refusals.filter(
    (row) =>
      (!query.get('user') || row.userId === query.get('user')) &&
      (!query.get('org') || row.orgId === query.get('org')) &&
      (!query.get('reason') || row.reason === query.get('reason')),
  )
  const start = Number(query.get('cursor') ?? 0)
  const end = start + Number(query.get('limit') ?? 100)
  const recent = new Set(
    state.refusals
      .filter((row) => Date.parse(row.lastAt) > Date.now() - 300_000)
      .map((row) => row.userId ?? row.keyId),
  )
  return {
    refusals: rows.slice(start, end),
    nextCursor: end < rows.length ? String(end) : null,
    refusedRecently: recent.size,
  }
}

// ---- sessions
const usageOf = (session) => ({
  ...zero(),
  inputTokens: session.input,
  outputTokens: session.output,
  totalTokens: session.input + session.output,
  costUsd: session.cost,
  requests: session.requests,
})
function liveRow(session) {
  const { user, org, feature, model, provider } = session.combo
  const age = (Date.now() - session.openedAt) / 1000
  return {
    sessionId: session.id,
    userId: user,
    orgId: org,
    feature,
    model,
    provider,
    openedAt: iso(session.openedAt),
    ageSeconds: Math.floor(age),
    transport: transportOf(session),
    callId: callOf(session),
    hangupFails: false,
    usage: usageOf(session),
    costPerMinuteUsd: session.cost / Math.max(age / 60, 0.1),
  }
}
const transportOf = ({ id }) => (id.charCodeAt(id.length - 1) % 3 ? 'websocket' : 'webrtc')
const callOf = (session) => (transportOf(session) === 'webrtc' ? `rtc_u1_${session.id.slice(-12)}` : null)
function pastRow(session) {
  const { user, org, feature, model, provider } = session.combo
  return {
    id: session.id,
    userId: user,
    orgId: org,
    feature,
    model,
    provider,
    transport: transportOf(session),
    callId: callOf(session),
    openedAt: iso(session.openedAt),
    closedAt: iso(session.closedAt),
    closeCode: session.code,
    usage: usageOf(session),
  }
}
function kill({ path: [id], actor }) {
  const session = live.find((each) => each.id === id)
  if (!session) return [404, { error: 'Session not found' }]
  close(session, 4003)
  state.note(actor, 'session.end', 'session', id, null, null)
  return { sessionId: id, success: true }
}

// ---- prices, audit, logins, settings
function putPrice({ query, body, actor }) {
  if (query.get('dryRun') === 'true') {
    const then = before(of('monthly'))
    const rows = rowsBy({ from: then.from, to: of('monthly').from }, ['provider', 'model'])
    const total = rows.reduce((all, row) => all + row.usage.costUsd, 0)
    const touched = rows
      .filter((row) => row.model === body.model)
      .map((row) => ({
        provider: row.provider,
        model: row.model,
        costUsd: row.usage.costUsd,
        costUsdWithIt:
          (row.usage.inputTokens * (body.usdPerMillion.audioIn ?? 0) +
            row.usage.outputTokens * (body.usdPerMillion.audioOut ?? 0)) /
          1e6,
      }))
    const change = touched.reduce((all, row) => all + row.costUsdWithIt - row.costUsd, 0)
    return {
      month: iso(then.from).slice(0, 7),
      periodLabel: 'Last month',
      costUsd: total,
      costUsdWithIt: total + change,
      models: touched,
    }
  }
  const price = { id: state.nextId('price'), source: 'api', ...body }
  state.prices.unshift(price)
  state.note(actor, 'price.put', 'price', body.model, null, body.usdPerMillion)
  return price
}
function removeFrom(list, what) {
  return ({ path: [id], actor }) => {
    const index = list.findIndex((each) => each.id === id)
    if (index < 0) return [404, { error: `${what} not found` }]
    list.splice(index, 1)
    state.note(actor, `${what}.delete`, what, id, null, null)
    return { success: true }
  }
}
function listAudit({ query }) {
  const all = state.audit.filter(
    (each) =>
      matches(each.action, query.get('action')) &&
      matches(each.subject.id, query.get('subject')) &&
      matches(each.actor.name, query.get('actor')),
  )
  const start = Number(query.get('offset') ?? 0)
  const end = start + Number(query.get('limit') ?? 50)
  return { entries: all.slice(start, end), more: end < all.length }
}
function makeLogin({ body, actor }) {
  if (state.logins.some((each) => each.email === body.email))
    return [409, { error: 'Email already registered' }]
  if (body.password.length < 10) return [400, { error: 'A password has at least 10 characters' }]
  const login = {
    id: state.nextId('login'),
    email: body.email,
    displayName: body.displayName ?? null,
    role: body.role,
    createdAt: iso(Date.now()),
  }
  state.logins.push(login)
  state.note(actor, 'login.create', 'login', body.email, null, { role: body.role })
  return [201, login]
}
function changeLogin({ path: [id], body }) {
  const login = state.logins.find((each) => each.id === id)
  if (!login) return [404, { error: 'Login not found' }]
  const { password: _, ...rest } = body
  return Object.assign(login, rest)
}
const health = () => ({
  status: 'ok',
  problems: [],
  logLinesLost: 0,
  version: '0.3.0',
  driver: 'io_uring',
  store: 'sqlite',
  startedAt: iso(STARTED),
  uptimeSeconds: Math.floor((Date.now() - STARTED) / 1000),
  sessions: live.length,
  users: users.length,
  acceptFailure: null,
  draining: false,
  instances: null,
  mirrorFailure: null,
  mirrorWaiting: null,
  reportsHeld: 0,
  threadsRestarted: [],
  redisFailing: null,
  redisFailure: null,
  storeFailing: false,
  storeFailure: null,
  journalFailure: null,
})
const STARTED = Date.now() - 93_784_000
const SETTINGS = {
  proxy: {
    listen: '127.0.0.1:8080',
    tls_listen: '',
    shard_count: 2,
    session_max: 20000,
    tick_ms: 100,
    drain_seconds: 30,
    driver: 'auto',
  },
  admin: { listen: '127.0.0.1:8081', token: '••••••••', metrics_open: false, cors_origins: [] },
  store: { kind: 'sqlite', path: 'tokenist-data', commit_ms: 100, details_days: 90, rollups_days: 400 },
  identity: { passthrough: true, query: false },
}
const settings = () => ({
  settings: Object.entries(SETTINGS).flatMap(([section, all]) =>
    Object.entries(all).map(([key, value]) => ({ section, key, value })),
  ),
})

const one =
  (name) =>
  ({ path: [id], query }) => {
    const span = spanOf(query)
    return userOf(known(id), sum(span, { [name]: id }).usage, span.period)
  }

export const ROUTES = [
  ['GET', '/health', health],
  ['GET', '/ready', () => ({ status: 'ok' })],
  ['GET', '/admin/overview', overview],
  ['GET', '/admin/usage', explore],
  ['GET', '/admin/users', listUsers],
  ['POST', '/admin/users', makeUser],
  ['GET', '/admin/users/:id/usage', one('user')],
  ['POST', '/admin/users/:id/block', block],
  ['POST', '/admin/users/:id/unblock', unblock],
  ['POST', '/admin/users/:id/rotate-key', rotate],
  [
    'GET',
    '/admin/blocked',
    () => ({ blocked: [...state.blocks].map(([userId, entry]) => ({ userId, ...entry })) }),
  ],
  ['GET', '/admin/limits', listLimits],
  ['GET', '/admin/limits/:kind/:id', ({ path: [kind, id] }) => holderOf(kind, id)],
  ['PUT', '/admin/limits/:kind/:id', putLimit],
  ['DELETE', '/admin/limits/:kind/:id', deleteLimit],
  ['GET', '/auth/api-keys', listKeys],
  [
    'POST',
    '/auth/api-keys',
    ({ body, actor }) => [
      201,
      makeKey(
        body.name,
        body.scopes ?? ['proxy', 'sdk'],
        { userId: body.userId ?? null, orgId: body.orgId ?? null, expiresAt: body.expiresAt ?? null },
        actor,
      ),
    ],
  ],
  ['DELETE', '/auth/api-keys/:id', revokeKey],
  ['GET', '/admin/refusals', listRefusals],
  ['GET', '/admin/sessions', () => ({ sessions: live.map(liveRow), total: live.length })],
  [
    'GET',
    '/admin/sessions/past',
    ({ query }) => ({
      sessions: page(
        past.filter((each) => !query.get('user') || each.combo.user === query.get('user')).map(pastRow),
        query,
      ),
    }),
  ],
  ['DELETE', '/admin/sessions/:id', kill],
  ['GET', '/admin/audit', listAudit],
  ['GET', '/admin/prices', () => ({ prices: state.prices, fallback: state.otherPrice })],
  ['PUT', '/admin/prices', putPrice],
  ['DELETE', '/admin/prices/:id', removeFrom(state.prices, 'price')],
  ['GET', '/admin/logins', () => ({ logins: state.logins })],
  ['POST', '/admin/logins', makeLogin],
  ['PATCH', '/admin/logins/:id', changeLogin],
  ['DELETE', '/admin/logins/:id', removeFrom(state.logins, 'login')],
  ['DELETE', '/admin/logins/:id/sessions', () => ({ success: true })],
  ['GET', '/admin/settings', settings],
]

/** A process that has seen nothing: the same shapes, without anybody in them. */
export function emptied(path, body) {
  const blank = { ...body }
  for (const name of [
    'rows',
    'users',
    'limits',
    'blocked',
    'keys',
    'sessions',
    'entries',
    'topUsers',
    'logins',
  ])
    if (Array.isArray(blank[name])) blank[name] = []
  if (blank.usage) blank.usage = zero()
  if (blank.series)
    blank.series = {
      ...blank.series,
      groups: [],
      points: blank.series.points.map((each) => ({ ...each, costUsd: [], totalTokens: [] })),
    }
  if ('activeUsers' in blank)
    Object.assign(blank, { activeUsers: 0, liveSessions: 0, blockedUsers: 0, previous: null })
  if ('total' in blank) blank.total = 0
  if ('nextCursor' in blank) blank.nextCursor = null
  if ('more' in blank) blank.more = false
  if (path.startsWith('/health')) blank.sessions = 0
  return blank
}
