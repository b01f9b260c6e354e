import type { Refusal } from '@/api/types'
import { count, usd } from '@/ui/format'

/** What the API calls a reason, as the first words of a sentence. */
const WORDS: Record<string, string> = {
  cost_limit_reached: 'Cost limit reached',
  token_limit_reached: 'Token limit reached',
  user_blocked: 'Blocked',
  model_not_allowed: 'Model not allowed',
  too_many_sessions: 'Too many sessions',
  unauthorized: 'Key refused',
  limit_unsure: 'Limit cannot be known',
  overloaded: 'Overloaded',
  draining: 'Shutting down',
  upstream_failed: 'Provider failed',
}
export const REASONS = Object.keys(WORDS)

export const reasonWords = (reason: string) => WORDS[reason] ?? reason

/** How far a limit was exceeded, both figures in full: $10.0123 of $10.00. */
export function measureWords({ measure, used, limit }: NonNullable<Refusal['limit']>): string {
  const words = measure === 'cost_usd' ? usd : (n: number) => `${count(n)} tokens`
  return `${words(used)} of ${words(limit)}`
}
