// Sums over the world: periods, groups, series.
import { combos, firstHour, HOUR, users } from './world.mjs'

const nameOf = new Map(users.map((user) => [user.id, user.name]))
const DAY = 24 * HOUR
export const iso = (ms) => new Date(ms).toISOString()

export function spanOf(query, now = Date.now()) {
  const [from, to] = [query.get('from'), query.get('to')]
  if (from && to) {
    const end = /^\d{4}-\d\d-\d\d$/.test(to) ? Date.parse(to) + DAY : Date.parse(to)
    return { period: 'range', periodLabel: `${from} – ${to}`, from: Date.parse(from), to: end }
  }
  const today = Math.floor(now / DAY) * DAY
  const at = new Date(now)
  const month = Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1)
  const period = query.get('period') ?? 'monthly'
  if (period === 'daily') return { period, periodLabel: iso(now).slice(0, 10), from: today, to: today + DAY }
  if (period === 'rolling_24h')
    return { period, periodLabel: 'Last 24 hours', from: Math.floor(now / HOUR) * HOUR - 23 * HOUR, to: now }
  if (period === 'total') return { period, periodLabel: 'All time', from: firstHour * HOUR, to: now }
  const label = at.toLocaleDateString('en-US', { month: 'short', year: 'numeric', timeZone: 'UTC' })
  return {
    period: 'monthly',
    periodLabel: label,
    from: month,
    to: Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1),
  }
}

export function before(span, now = Date.now()) {
  if (span.period === 'total') return null
  const reach = Math.min(span.to, now) - span.from
  if (span.period !== 'monthly')
    return { from: span.from - (span.to - span.from), to: span.from - (span.to - span.from) + reach }
  const at = new Date(span.from)
  const from = Date.UTC(at.getUTCFullYear(), at.getUTCMonth() - 1, 1)
  return { from, to: from + reach }
}

export const zero = () => ({
  inputTokens: 0,
  outputTokens: 0,
  totalTokens: 0,
  costUsd: 0,
  estimatedCostUsd: 0,
  requests: 0,
  lastUpdated: null,
})

export function add(usage, cell, hour) {
  usage.inputTokens += cell.input
  usage.outputTokens += cell.output
  usage.totalTokens += cell.input + cell.output
  usage.costUsd += cell.cost
  if (hour % 29 === 0) usage.estimatedCostUsd += cell.cost
  usage.requests += cell.requests
  const at = iso(Math.min(Date.now(), (firstHour + hour + 1) * HOUR))
  if (!usage.lastUpdated || at > usage.lastUpdated) usage.lastUpdated = at
}

/** Calls `tell(combo, hour, cell)` for every cell in the span that the filter lets through. */
export function scan({ from, to }, filter, tell) {
  const first = Math.floor(from / HOUR) - firstHour
  const last = Math.ceil(to / HOUR) - firstHour
  for (const combo of combos) {
    if (
      !Object.entries(filter).every(([name, wanted]) =>
        Array.isArray(wanted) ? wanted.includes(combo[name]) : wanted === combo[name],
      )
    )
      continue
    for (const [hour, cell] of combo.hours) if (hour >= first && hour < last) tell(combo, hour, cell)
  }
}

export function sum(span, filter = {}) {
  const usage = zero()
  const seen = new Set()
  scan(span, filter, (combo, hour, cell) => {
    add(usage, cell, hour)
    seen.add(combo.user)
  })
  return { usage, users: seen.size }
}

export function rowsBy(span, by, filter = {}) {
  const rows = new Map()
  scan(span, filter, (combo, hour, cell) => {
    const key = JSON.stringify(by.map((name) => combo[name]))
    if (!rows.has(key)) {
      const named = Object.fromEntries(
        ['user', 'org', 'feature', 'provider', 'model'].map((name) => [
          name,
          by.includes(name) ? combo[name] : null,
        ]),
      )
      rows.set(key, {
        ...named,
        displayName: by.includes('user') ? (nameOf.get(combo.user) ?? null) : null,
        usage: zero(),
      })
    }
    add(rows.get(key).usage, cell, hour)
  })
  return [...rows.values()].sort((a, b) => b.usage.costUsd - a.usage.costUsd)
}

const GROUPS_MAX = 8
export function series(span, by, filter = {}, wanted, now = Date.now()) {
  const end = Math.min(span.to, now)
  const grain =
    wanted ?? (span.to - span.from <= 2 * DAY ? 'hour' : span.to - span.from <= 100 * DAY ? 'day' : 'month')
  const all = rowsBy(span, [by], filter)
  const groups = all.slice(0, GROUPS_MAX).map((row) => ({ key: row[by], other: false, usage: row.usage }))
  const rest = all.slice(GROUPS_MAX)
  if (rest.length > 0) {
    const usage = zero()
    for (const row of rest)
      for (const name of ['inputTokens', 'outputTokens', 'totalTokens', 'costUsd', 'requests'])
        usage[name] += row.usage[name]
    groups.push({ key: null, other: true, usage })
  }
  const starts = []
  for (let at = startOf(span.from, grain); at < end; at = nextOf(at, grain)) starts.push(at)
  const points = starts.map((at) => ({
    at: iso(at),
    costUsd: groups.map(() => 0),
    totalTokens: groups.map(() => 0),
  }))
  const place = new Map(starts.map((at, index) => [at, index]))
  scan(span, filter, (combo, hour, cell) => {
    const point = points[place.get(startOf((firstHour + hour) * HOUR, grain))]
    if (!point) return
    const found = groups.findIndex((group) => !group.other && group.key === combo[by])
    const index = found < 0 ? groups.length - 1 : found
    point.costUsd[index] += cell.cost
    point.totalTokens[index] += cell.input + cell.output
  })
  return { grain, groups, points }
}

function startOf(at, grain) {
  if (grain === 'hour') return Math.floor(at / HOUR) * HOUR
  if (grain === 'day') return Math.floor(at / DAY) * DAY
  const when = new Date(at)
  return Date.UTC(when.getUTCFullYear(), when.getUTCMonth(), 1)
}
function nextOf(at, grain) {
  if (grain !== 'month') return at + (grain === 'hour' ? HOUR : DAY)
  const when = new Date(at)
  return Date.UTC(when.getUTCFullYear(), when.getUTCMonth() + 1, 1)
}
