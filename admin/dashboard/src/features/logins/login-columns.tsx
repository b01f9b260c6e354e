import type { Login } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import type { Columns } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { ROLES } from './roles'

interface Acts {
  edit: (login: Login) => void
  signOut: (login: Login) => void
  remove: (login: Login) => void
}

export function loginColumns({ edit, signOut, remove }: Acts): Columns<Login> {
  return [
    {
      id: 'email',
      header: 'Who',
      accessorFn: (row) => row.email,
      cell: ({ row }) => <Who of={row.original} />,
    },
    {
      id: 'role',
      header: 'Role',
      accessorFn: (row) => row.role,
      cell: ({ row }) => (
        <Badge tone={row.original.role === 'owner' ? 'accent' : 'neutral'}>
          {ROLES[row.original.role].label}
        </Badge>
      ),
    },
    {
      id: 'made',
      header: 'Made',
      accessorFn: (row) => row.createdAt,
      meta: { from: 'md' },
      cell: ({ getValue }) => <Ago at={getValue()} />,
    },
    actionsColumn((login) => (
      <span className="inline-flex gap-1.5">
        <Button size="small" onClick={() => edit(login)} aria-label={`Edit ${login.email}`}>
          Edit
        </Button>
        <Button size="small" onClick={() => signOut(login)} aria-label={`End sessions of ${login.email}`}>
          End sessions
        </Button>
        <Button size="small" look="danger" onClick={() => remove(login)} aria-label={`Remove ${login.email}`}>
          Remove
        </Button>
      </span>
    )),
  ]
}

function Who({ of }: { of: Login }) {
  return (
    <span className="block max-w-64">
      <span className="block truncate font-medium">{of.displayName ?? of.email}</span>
      {of.displayName && <span className="block truncate text-ink-3 text-xs">{of.email}</span>}
    </span>
  )
}
