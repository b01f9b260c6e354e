import type { User } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Ago } from '@/ui/clock'
import { count, usd } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { costColumn, orgColumn, tokensColumn } from '../shared/columns'
import { UserLink } from '../shared/links'
import { WINDOW_WORDS } from '../shared/period'

/** Ids are the API's names of what it sorts by. */
export const userColumns: Columns<User> = [
  {
    id: 'id',
    header: 'User',
    accessorFn: (row) => row.userId,
    cell: ({ row }) => <UserLink id={row.original.userId} name={row.original.name} />,
  },
  orgColumn('md'),
  {
    id: 'state',
    header: 'State',
    enableSorting: false,
    meta: { from: 'sm' },
    cell: ({ row }) => <UserState user={row.original} />,
  },
  {
    id: 'limit',
    header: 'Limit',
    enableSorting: false,
    meta: { from: 'lg' },
    cell: ({ row }) => <Threshold user={row.original} />,
  },
  tokensColumn('sm'),
  costColumn(),
  {
    id: 'lastUpdated',
    header: 'Last use',
    accessorFn: (row) => row.usage.lastUpdated,
    meta: { numeric: true, from: 'md' },
    cell: ({ getValue }) => (
      <span className="text-ink-2">
        <Ago at={getValue()} />
      </span>
    ),
  },
]

export function UserState({ user }: { user: User }) {
  if (user.blocked)
    return (
      <Badge tone="bad" dot>
        Blocked
      </Badge>
    )
  if (user.limitReached)
    return (
      <Badge tone="bad" dot>
        Refused: limit
        {user.resetsAt && (
          <>
            , resets <Ago at={user.resetsAt} />
          </>
        )}
      </Badge>
    )
  if (user.sessions > 0)
    return (
      <Badge tone="good" dot>
        {count(user.sessions)} live
      </Badge>
    )
  return <span className="text-ink-3">idle</span>
}

function Threshold({ user: { threshold, thresholdIsDefault } }: { user: User }) {
  const { maxCostUsd, maxTotalTokens, window } = threshold
  const parts = [
    maxCostUsd !== undefined && usd(maxCostUsd),
    maxTotalTokens && `${count(maxTotalTokens)} tokens`,
  ].filter(Boolean)
  if (parts.length === 0) return <span className="text-ink-3">unlimited</span>
  return (
    <span className="text-ink-2">
      {parts.join(' or ')} {WINDOW_WORDS[window]}
      {thresholdIsDefault && <span className="text-ink-3"> (default)</span>}
    </span>
  )
}
