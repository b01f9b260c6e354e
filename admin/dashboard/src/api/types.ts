// Names for the API's shapes, taken from its paths so that nothing is typed twice.
import type { Paths } from './client'

type Json<Responses> = Responses extends { 200: { content: { 'application/json': infer Body } } }
  ? Body
  : Responses extends { 201: { content: { 'application/json': infer Body } } }
    ? Body
    : never
type Reply<Path extends keyof Paths, Method extends keyof Paths[Path]> = Paths[Path][Method] extends {
  responses: infer Responses
}
  ? Json<Responses>
  : never
type Query<Path extends keyof Paths> = Paths[Path] extends { get: { parameters: { query?: infer Q } } }
  ? NonNullable<Q>
  : never

export type Me = Reply<'/auth/me', 'get'>
export type Role = Me['role']
export type Login = Reply<'/admin/logins', 'get'>['logins'][number]

export type Overview = Reply<'/admin/overview', 'get'>
export type Usage = Overview['usage']
export type Series = Overview['series']
export type By = Overview['by']
export type Window = NonNullable<Query<'/admin/overview'>['period']>
export type UsageTable = Reply<'/admin/usage', 'get'>
export type UsageRow = UsageTable['rows'][number]
export type UsageQuery = Query<'/admin/usage'>

export type UsersQuery = Query<'/admin/users'>
export type User = Reply<'/admin/users', 'get'>['users'][number]
export type Blocked = Reply<'/admin/blocked', 'get'>['blocked'][number]

export type LimitsQuery = Query<'/admin/limits'>
export type Limits = Reply<'/admin/limits', 'get'>
export type HolderLimit = Limits['limits'][number]
export type Limit = HolderLimit['limit']
export type LimitKind = HolderLimit['kind']
export type LimitUsed = HolderLimit['used']
export type LimitTrial = Extract<Reply<'/admin/limits/{kind}/{id}', 'put'>, { liveSessions: number }>

export type Key = Reply<'/auth/api-keys', 'get'>['keys'][number]
export type Scope = Key['scopes'][number]
export type Session = Reply<'/admin/sessions', 'get'>['sessions'][number]
export type PastSession = Reply<'/admin/sessions/past', 'get'>['sessions'][number]
export type Refusal = Reply<'/admin/refusals', 'get'>['refusals'][number]
export type AuditEntry = Reply<'/admin/audit', 'get'>['entries'][number]
export type Price = Reply<'/admin/prices', 'get'>['prices'][number]
export type Health = Reply<'/health', 'get'>
export type Setting = Reply<'/admin/settings', 'get'>['settings'][number]
export type PriceTrial = Extract<Reply<'/admin/prices', 'put'>, { costUsdWithIt: number }>
