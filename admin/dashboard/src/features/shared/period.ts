import type { Window } from '@/api/types'
import { oneOf, useUrl } from './url'

export const WINDOWS = ['monthly', 'daily', 'rolling_24h', 'total'] as const satisfies Window[]
export const WINDOW_LABELS: Record<Window, string> = {
  daily: 'Today',
  monthly: 'This month',
  rolling_24h: 'Last 24 h',
  total: 'All time',
}
/** As part of a sentence: "$20 a month". */
export const WINDOW_WORDS: Record<Window, string> = {
  daily: 'per day',
  monthly: 'per month',
  rolling_24h: 'in any 24 h',
  total: 'in all',
}

export type Span = { period: Window } | { from: string; to: string }

export function spanOf(period: string, from: string, to: string): Span {
  return isDay(from) && isDay(to) && from <= to ? { from, to } : { period: oneOf(WINDOWS, period) }
}

export function useSpan(): Span {
  const { get } = useUrl()
  return spanOf(get('period'), get('from'), get('to'))
}

function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))
}
