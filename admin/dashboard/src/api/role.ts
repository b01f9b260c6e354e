import { api } from './client'
import type { Role } from './types'

export function useMe() {
  return api.useQuery('get', '/auth/me', {}, { staleTime: 60_000 })
}

/** What to show. Whether it is allowed is the API's decision; this hides what it would refuse. */
export function useCan(what: 'change' | 'own'): boolean {
  const role = useMe().data?.role
  return role !== undefined && ROLES[what].includes(role)
}

const ROLES: Record<'change' | 'own', Role[]> = { change: ['owner', 'operator'], own: ['owner'] }

/** Accounts that an application made for its own people have a role too, but none that opens this dashboard. */
export function mayRead(role: string): boolean {
  return ['owner', 'operator', 'viewer'].includes(role)
}
