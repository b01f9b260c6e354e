// What operators changed or can change: limits, blocks, keys, logins, prices, and the audit of it all.
import { iso, rowsBy, spanOf } from './usage.mjs'
import { users } from './world.mjs'

const ago = (minutes) => iso(Date.now() - minutes * 60_000)
let made = 0
export const nextId = (kind) => `${kind}_${(++made).toString(36).padStart(5, '0')}`

export const noLimit = {
  maxCostUsd: null,
  maxTotalTokens: null,
  window: 'monthly',
  mode: 'enforce',
  maxSessions: null,
  onRedisDown: 'local_share',
  models: null,
}
export const fallback = { ...noLimit, maxCostUsd: 50, maxSessions: 8 }

const nice = (n) => Number(n.toPrecision(n < 100 ? 1 : 2))
const spent = (window, by) => rowsBy(spanOf(new URLSearchParams({ period: window })), [by])
const limit = (kind, id, change) => [`${kind} ${id}`, { kind, id, limit: { ...noLimit, ...change } }]
const WINDOWS = ['monthly', 'monthly', 'daily', 'rolling_24h']
const FACTORS = [1.6, 2.4, 1.1, 3, 5, 1.2, 1.9, 0.97, 4]
export const limits = new Map([
  ...WINDOWS.flatMap((window, w) =>
    spent(window, 'user')
      .slice(w * 15, w * 15 + 15)
      .map((row, n) =>
        limit('user', row.user, {
          maxCostUsd: nice(row.usage.costUsd * FACTORS[(n + w) % FACTORS.length] + 0.5),
          mode: n % 5 === 3 ? 'warn' : 'enforce',
          window,
        }),
      ),
  ),
  ...spent('monthly', 'org')
    .filter((row) => row.org !== null)
    .slice(0, 5)
    .map((row, n) =>
      limit(
        'org',
        row.org,
        n === 2
          ? { maxTotalTokens: nice(row.usage.totalTokens * 1.4) }
          : { maxCostUsd: nice(row.usage.costUsd * FACTORS[n]), mode: n === 1 ? 'warn' : 'enforce' },
      ),
    ),
  limit('key', 'key_00001', { maxCostUsd: 250, window: 'daily', models: ['gpt-realtime*', 'gpt-4o*'] }),
])

export const blocks = new Map([
  [users[0].id, { blockedAt: ago(320), reason: '<script>alert("reason")</script>' }],
  [
    users[12].id,
    { blockedAt: ago(2900), reason: 'Agent stuck in a loop, 400 sessions in an hour', expiresAt: ago(-600) },
  ],
  [users[44].id, { blockedAt: ago(30) }],
])

const refusal = (n, user, reason, closeCode, limit) => ({
  id: `refusal_${n}`,
  minute: ago(n).replace(/:\d\d\.\d+Z$/, ':00.000Z'),
  lastAt: ago(n),
  userId: user.id,
  orgId: user.org,
  keyId: null,
  reason,
  closeCode,
  count: 1 + ((n * 37) % 90),
  address: n % 7 === 6 ? null : `203.0.113.${(n * 13) % 250}`,
  limit,
})
export const refusals = Array.from({ length: 120 }, (_, n) =>
  n % 3 === 0
    ? refusal(n, users[[0, 12, 44][n % 9 === 0 ? 0 : n % 2 ? 1 : 2]], 'user_blocked', 4003, null)
    : n % 8 === 5
      ? refusal(n, users[20 + (n % 5)], 'too_many_sessions', 4029, null)
      : refusal(n, users[3 + (n % 4)], 'cost_limit_reached', 4004, {
          measure: 'cost_usd',
          used: 50.0123,
          limit: 50,
        }),
)

const key = (name, scopes, bound = {}) => ({
  id: nextId('key'),
  name,
  scopes,
  keyHint: `ug_${Math.abs(Math.sin(made) * 1e9)
    .toString(16)
    .slice(0, 9)
    .replace('.', 'a')
    .padEnd(9, '0')}`,
  userId: null,
  orgId: null,
  createdAt: ago(made * 3100),
  maker: made % 3 ? { kind: 'login', id: 'login_2', email: 'operator@example.test' } : null,
  expiresAt: null,
  revokedAt: null,
  ...bound,
})
export const keys = [
  key('production backend', ['proxy', 'sdk']),
  key('grafana', ['admin'], { expiresAt: ago(-60 * 24 * 20) }),
  key('acme gateway', ['proxy'], { orgId: 'acme' }),
  ...users
    .slice(6, 16)
    .map((user) => key(`${user.name ?? user.id}`, ['proxy', 'sdk'], { userId: user.id, orgId: user.org })),
  key('old staging', ['proxy'], { revokedAt: ago(9000) }),
]

export const logins = [
  {
    id: 'login_1',
    email: 'owner@example.test',
    displayName: 'Rosa Lindqvist',
    role: 'owner',
    createdAt: ago(60 * 24 * 50),
  },
  {
    id: 'login_2',
    email: 'operator@example.test',
    displayName: 'Tariq Haddad',
    role: 'operator',
    createdAt: ago(60 * 24 * 31),
  },
  {
    id: 'login_3',
    email: 'viewer@example.test',
    displayName: 'Finance',
    role: 'viewer',
    createdAt: ago(60 * 24 * 12),
  },
]
export const PASSWORD = 'correct horse'

const price = (provider, model, textIn, textOut, audioIn, audioOut, more = {}) => ({
  id: null,
  source: 'builtin',
  provider,
  model,
  aliases: [],
  effectiveFrom: null,
  usdPerMillion: {
    textIn,
    cachedTextIn: textIn / 10,
    textOut,
    audioIn,
    cachedAudioIn: audioIn === null ? null : 0.4,
    audioOut,
    imageIn: null,
    cachedImageIn: null,
  },
  usdPerMinute: null,
  ...more,
})
export const prices = [
  price('openai', 'gpt-realtime', 4, 16, 32, 64, { aliases: ['gpt-realtime-2025-08-28'] }),
  price('openai', 'gpt-realtime-mini', 0.6, 2.4, 10, 20),
  price('openai', 'gpt-4o-realtime-preview', 5, 20, 40, 80),
  price('openai', 'gpt-4o-mini-realtime-preview', 0.6, 2.4, 10, 20),
  price('openai', 'gpt-4o-transcribe', 2.5, 10, 6, null),
  price('google', 'gemini-live-2.5-flash', 0.5, 2, 3, 12),
  price('xai', 'grok-voice', null, null, null, null, { usdPerMinute: 0.05 }),
  price('bedrock', 'nova-2-sonic', 0.06, 0.24, 3.4, 13.6, { source: 'file' }),
  price('openai', 'gpt-realtime', 4, 16, 28.5, 60, {
    id: 'price_1',
    source: 'api',
    effectiveFrom: '2026-12-01T00:00:00.000Z',
  }),
]
export const otherPrice = price(null, '*', 5, 20, 40, 80)

export const audit = []
export function note(actor, action, kind, id, before, after, at = iso(Date.now())) {
  audit.unshift({ id: nextId('audit'), at, actor, action, subject: { kind, id }, before, after })
}
const rosa = { kind: 'login', id: 'login_1', name: 'Rosa Lindqvist' }
const tariq = { kind: 'login', id: 'login_2', name: 'Tariq Haddad' }
const token = { kind: 'token', id: null, name: 'operator' }
note(
  token,
  'login.create',
  'login',
  'owner@example.test',
  null,
  { role: 'owner', email: 'owner@example.test' },
  ago(60 * 24 * 50),
)
note(
  rosa,
  'user.limit',
  'org',
  'acme',
  { maxCostUsd: 2000, mode: 'warn' },
  { maxCostUsd: 2500, mode: 'enforce' },
  ago(60 * 24 * 9),
)
note(
  { kind: 'key', id: 'key_00002', name: 'billing job' },
  'user.limit',
  'user',
  users[9].id,
  { maxCostUsd: 50 },
  { maxCostUsd: 20, window: 'daily' },
  ago(60 * 26),
)
note(
  tariq,
  'user.block',
  'user',
  users[12].id,
  null,
  { reason: 'Agent stuck in a loop, 400 sessions in an hour', expiresAt: ago(-600) },
  ago(2900),
)
note(
  rosa,
  'price.put',
  'price',
  'gpt-realtime',
  { audioIn: 32, audioOut: 64 },
  { audioIn: 28.5, audioOut: 60, effectiveFrom: '2026-12-01' },
  ago(900),
)
note(tariq, 'user.block', 'user', users[0].id, null, { reason: '<script>alert("reason")</script>' }, ago(320))
note(tariq, 'key.revoke', 'key', 'old staging', { revokedAt: null }, { revokedAt: ago(250) }, ago(250))
note(tariq, 'session.end', 'session', 's_00004f', null, null, ago(60))
note(token, 'user.block', 'user', users[44].id, null, {}, ago(30))
