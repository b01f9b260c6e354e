import type { Limit } from '@/api/types'

/** A limit as it stands in the form: text, where empty means none. */
export interface LimitFields {
  cost: string
  tokens: string
  sessions: string
  /** Separated by commas. */
  models: string
  window: Limit['window']
  mode: Limit['mode']
  onRedisDown: Limit['onRedisDown']
}

export function fieldsOf(limit?: Limit): LimitFields {
  return {
    cost: text(limit?.maxCostUsd),
    tokens: text(limit?.maxTotalTokens),
    sessions: text(limit?.maxSessions),
    models: limit?.models?.join(', ') ?? '',
    window: limit?.window ?? 'monthly',
    mode: limit?.mode ?? 'enforce',
    onRedisDown: limit?.onRedisDown ?? 'local_share',
  }
}

/** What is left out is unlimited: a limit is replaced as a whole. */
export function requestOf({ cost, tokens, sessions, models, ...rest }: LimitFields) {
  return {
    maxCostUsd: number(cost),
    maxTotalTokens: number(tokens),
    maxSessions: number(sessions),
    models: words(models),
    ...rest,
  }
}

function text(value: number | null | undefined): string {
  return value === null || value === undefined ? '' : String(value)
}

function words(value: string): string[] | undefined {
  const named = value
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean)
  return named.length > 0 ? named : undefined
}

function number(value: string): number | undefined {
  return value.trim() === '' ? undefined : Number(value)
}
