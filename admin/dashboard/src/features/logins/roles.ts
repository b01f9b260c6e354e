import type { Role } from '@/api/types'

export const ROLES: Record<Role, { label: string; words: string }> = {
  owner: { label: 'Owner', words: 'May do everything, logins included.' },
  operator: {
    label: 'Operator',
    words: 'May change users, limits, blocks, keys and sessions, but no logins.',
  },
  member: { label: 'Member', words: 'Makes keys for its own organization and sees its usage; no dashboard.' },
  viewer: { label: 'Viewer', words: 'Sees everything and changes nothing.' },
}
