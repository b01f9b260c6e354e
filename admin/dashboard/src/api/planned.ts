// Shapes of routes that `admin/openapi.json` does not describe yet, written by hand in the form that the
// generator writes. A route that lands in openapi.json is deleted here; when none is left, so is this file.
import type { components } from './schema'

type Schemas = components['schemas']
type Window = Schemas['Window']

interface Ask<Query, Reply> {
  parameters: { query?: Query; header?: never; path?: never; cookie?: never }
  requestBody?: never
  responses: { 200: { headers: object; content: { 'application/json': Reply } } }
}
type NoPath = { [key: string]: never } | undefined
interface Tell<Query, Body, Reply, Status extends number = 200> {
  parameters: { query?: Query; header?: never; path?: NoPath; cookie?: never }
  requestBody: { content: { 'application/json': Body } }
  responses: { [status in Status]: { headers: object; content: { 'application/json': Reply } } }
}
interface Order<Path, Reply, Query = never> {
  parameters: { query?: Query; header?: never; path: Path; cookie?: never }
  requestBody?: never
  responses: { 200: { headers: object; content: { 'application/json': Reply } } }
}

export type Usage = Schemas['Usage'] & { requests: number }
export type By = 'model' | 'feature' | 'provider' | 'org' | 'user'
export type Grain = 'hour' | 'day' | 'month'

interface Span {
  period?: Window
  from?: string
  to?: string
}
export interface Series {
  grain: Grain
  groups: { key: string | null; other: boolean; usage: Usage }[]
  points: { at: string; costUsd: number[]; totalTokens: number[] }[]
}
export interface Overview {
  period: Schemas['Period']
  periodLabel: string
  from: string
  to: string
  usage: Usage
  activeUsers: number
  liveSessions: number
  blockedUsers: number
  previous: { from: string; to: string; usage: Usage; activeUsers: number } | null
  by: By
  series: Series
  topUsers: { userId: string; displayName: string | null; orgId: string | null; usage: Usage }[]
}
export interface UsageRow {
  user: string | null
  org: string | null
  feature: string | null
  provider: string | null
  model: string | null
  displayName: string | null
  usage: Usage
}
export interface UsageTable {
  period: Schemas['Period']
  periodLabel: string
  from: string
  to: string
  by: By[]
  usage: Usage
  rows: UsageRow[]
  total: number
  series: Series | null
}

export type LiveSession = Schemas['Session'] & { costPerMinuteUsd: number }
export interface PastSession {
  id: string
  userId: string
  orgId: string | null
  feature: string | null
  model: string | null
  provider: string
  openedAt: string
  closedAt: string
  closeCode: number | null
  usage: Usage
}

export interface PriceRequest {
  provider?: string | null
  model: string
  aliases?: string[]
  effectiveFrom?: string | null
  usdPerMillion: { [kind in PriceKind]?: number | null }
  usdPerMinute?: number | null
}
export type PriceKind =
  | 'textIn'
  | 'cachedTextIn'
  | 'textOut'
  | 'audioIn'
  | 'cachedAudioIn'
  | 'audioOut'
  | 'imageIn'
  | 'cachedImageIn'
export interface Price {
  id: string | null
  source: 'builtin' | 'file' | 'api'
  provider: string | null
  model: string
  aliases: string[]
  effectiveFrom: string | null
  usdPerMillion: { [kind in PriceKind]?: number | null }
  usdPerMinute: number | null
}
export interface PriceTrial {
  month: string
  periodLabel: string
  costUsd: number
  costUsdWithIt: number
  models: { provider: string; model: string; costUsd: number; costUsdWithIt: number }[]
}

interface UsersQuery {
  limit?: number
  cursor?: string
  search?: string
  org?: string
  period?: Window
  sort?: 'id' | 'cost' | 'tokens' | 'lastUpdated'
  order?: 'asc' | 'desc'
  blocked?: boolean
}

export interface PlannedPaths {
  '/admin/overview': { get: Ask<Span & { by?: By }, Overview> }
  '/admin/usage': {
    get: Ask<
      Span & {
        by?: string
        grain?: Grain | 'none'
        users?: string
        org?: string
        feature?: string
        provider?: string
        model?: string
        sort?: 'cost' | 'key'
        limit?: number
        offset?: number
      },
      UsageTable
    >
  }
  '/admin/users': {
    get: Ask<UsersQuery, Schemas['Users']>
    post: Tell<never, Schemas['UserRequest'], Schemas['CreatedUser'], 201>
  }
  '/admin/sessions': { get: Ask<{ limit?: number }, { sessions: LiveSession[]; total: number }> }
  '/admin/sessions/past': {
    get: Ask<{ user?: string; org?: string; limit?: number; offset?: number }, { sessions: PastSession[] }>
  }
  '/admin/prices': {
    get: Ask<never, { prices: Price[]; fallback: Price }>
    put: Tell<{ dryRun?: boolean }, PriceRequest, Price | PriceTrial>
  }
  '/admin/prices/{id}': { delete: Order<{ id: string }, { success: boolean }> }
  '/admin/settings': { get: Ask<never, { settings: { section: string; key: string; value: unknown }[] }> }
}
