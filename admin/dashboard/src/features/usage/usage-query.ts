import type { By, UsageQuery } from '@/api/types'
import { useSpan } from '../shared/period'
import { offsetOf, useUrl } from '../shared/url'

export const PAGE = 50
export const DIMENSIONS = ['model', 'feature', 'provider', 'org', 'user'] as const satisfies By[]
export const FILTERS = ['users', 'org', 'feature', 'model', 'provider'] as const
const GROUPS_MAX = 3

/** The explorer's question, read from the address. */
export function useUsageQuery(): { query: UsageQuery; groups: By[]; offset: number } {
  const { get } = useUrl()
  const span = useSpan()
  const groups = groupsOf(get('by'))
  const offset = offsetOf(get('offset'))
  const filters = Object.fromEntries(FILTERS.map((name) => [name, get(name) || undefined]))
  return { query: { ...span, ...filters, by: groups.join(','), limit: PAGE, offset }, groups, offset }
}

/** Known names, each once, at most three; by model when nothing is said. */
export function groupsOf(text: string): By[] {
  const named = text.split(',').filter((each): each is By => DIMENSIONS.some((known) => known === each))
  const groups = [...new Set(named)].slice(0, GROUPS_MAX)
  return groups.length > 0 ? groups : ['model']
}

/** What the groups are after a click on one: out if it was in, else last; the oldest gives way to a fourth. */
export function toggled(groups: By[], group: By): By[] {
  if (groups.includes(group)) return groups.filter((each) => each !== group)
  return [...groups, group].slice(-GROUPS_MAX)
}
