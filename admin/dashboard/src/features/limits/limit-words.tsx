import type { HolderLimit, Limit, LimitKind } from '@/api/types'
import { Badge } from '@/ui/badge'
import { count, usd } from '@/ui/format'
import { OrgLink, UserLink } from '../shared/links'
import { WINDOW_WORDS } from '../shared/period'

export const KIND_LABELS: Record<LimitKind, string> = {
  user: 'User',
  org: 'Org',
  feature: 'Feature',
  key: 'Key',
}

/** "$20.00 or 1,000 tokens per month, gpt-4o* only". A cost limit of 0 denies everything; a token limit of 0 is none. */
export function limitWords(limit: Limit): string {
  const parts = [
    limit.maxCostUsd !== null && usd(limit.maxCostUsd),
    limit.maxTotalTokens && `${count(limit.maxTotalTokens)} tokens`,
  ].filter(Boolean)
  const sums = parts.length > 0 ? `${parts.join(' or ')} ${WINDOW_WORDS[limit.window]}` : ''
  const sessions = limit.maxSessions !== null ? `${count(limit.maxSessions)} sessions at once` : ''
  const models = limit.models ? `${modelWords(limit.models)} only` : ''
  return [sums, sessions, models].filter(Boolean).join(', ') || 'Unlimited'
}

/** The first of them, and how many more there are. */
function modelWords(models: string[]): string {
  const more = models.length - SHOWN_MODELS
  const rest = more > 0 ? [`${count(more)} more`] : []
  return [...models.slice(0, SHOWN_MODELS), ...rest].join(' or ')
}

const SHOWN_MODELS = 3

/** Whether there is anything that it limits. */
export const isBinding = ({ maxCostUsd, maxTotalTokens, maxSessions, models }: Limit) =>
  maxCostUsd !== null || Boolean(maxTotalTokens) || maxSessions !== null || models !== null

export function ModeBadge({ mode }: { mode: Limit['mode'] }) {
  return mode === 'enforce' ? <Badge tone="accent">Enforces</Badge> : <Badge tone="warn">Warns only</Badge>
}

export const MODE_SENTENCES: Record<Limit['mode'], string> = {
  enforce: 'Enforced: at the limit, live sessions end with close code 4004 and new ones are refused.',
  warn: 'Warns only: reaching the limit is reported, but nothing is ended or refused.',
}

export function StateBadge({ state, mode }: { state: HolderLimit['state']; mode: Limit['mode'] }) {
  if (state === 'ok') return <Badge tone="good">Within</Badge>
  if (state === 'warned') return <Badge tone="warn">Near the limit</Badge>
  return <Badge tone="bad">{mode === 'enforce' ? 'Reached, refused' : 'Reached, warned'}</Badge>
}

export function HolderName({ of: { kind, id, name } }: { of: HolderLimit }) {
  if (kind === 'user') return <UserLink id={id} name={name} />
  if (kind === 'org') return <OrgLink id={id} />
  return (
    <span className="block max-w-40 sm:max-w-64 truncate font-medium" title={id}>
      {name ?? id}
    </span>
  )
}
