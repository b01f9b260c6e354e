import type { Session } from '@/api/types'
import { Button } from '@/ui/button'
import { useNow } from '@/ui/clock'
import { count, dateTime, duration, usd } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { OrgLink, UserLink } from '../shared/links'

export function liveColumns(kill: ((row: Session) => void) | null, withUser: boolean): Columns<Session> {
  const user: Columns<Session> = [
    {
      id: 'user',
      header: 'User',
      accessorFn: (row) => row.userId,
      cell: ({ row }) => <UserLink id={row.original.userId} />,
    },
    {
      id: 'org',
      header: 'Org',
      enableSorting: false,
      meta: { from: 'xl' },
      cell: ({ row }) => <OrgLink id={row.original.orgId} />,
    },
  ]
  const rest: Columns<Session> = [
    {
      id: 'model',
      header: 'Model',
      accessorFn: (row) => row.model ?? '',
      meta: { from: 'sm' },
      cell: ({ row }) => <ModelAndProvider of={row.original} />,
    },
    {
      id: 'feature',
      header: 'Feature',
      accessorFn: (row) => row.feature ?? '',
      meta: { from: 'lg' },
      cell: ({ row }) => row.original.feature ?? <span className="text-ink-3">none</span>,
    },
    {
      id: 'age',
      header: 'Open for',
      accessorFn: (row) => row.ageSeconds,
      meta: { numeric: true, from: 'sm' },
      cell: ({ row }) => <Age openedAt={row.original.openedAt} />,
    },
    {
      id: 'tokens',
      header: 'Tokens',
      accessorFn: (row) => row.usage.totalTokens,
      meta: { numeric: true, from: 'md' },
      cell: ({ getValue }) => count(getValue()),
    },
    {
      id: 'rate',
      header: 'Cost per min',
      accessorFn: (row) => row.costPerMinuteUsd,
      meta: { numeric: true },
      cell: ({ getValue }) => usd(getValue()),
    },
    {
      id: 'cost',
      header: 'Cost',
      accessorFn: (row) => row.usage.costUsd,
      meta: { numeric: true, from: 'sm', className: 'font-medium' },
      cell: ({ getValue }) => usd(getValue()),
    },
  ]
  const end: Columns<Session> = kill
    ? [
        {
          id: 'end',
          header: () => <span className="sr-only">Actions</span>,
          enableSorting: false,
          meta: { className: 'text-right' },
          cell: ({ row }) => (
            <Button
              size="small"
              look="danger"
              aria-label={`End the session of ${row.original.userId}`}
              onClick={() => kill(row.original)}
            >
              End
            </Button>
          ),
        },
      ]
    : []
  return [...(withUser ? user : []), ...rest, ...end]
}

export function ModelAndProvider({ of }: { of: { model: string | null; provider: string } }) {
  return (
    <span className="block max-w-52">
      <span className="block truncate" title={of.model ?? undefined}>
        {of.model ?? <span className="text-ink-3">not known yet</span>}
      </span>
      <span className="block truncate text-ink-3 text-xs">{of.provider}</span>
    </span>
  )
}

/** Runs on between two answers of the API. */
function Age({ openedAt }: { openedAt: string }) {
  const now = useNow()
  return (
    <time dateTime={openedAt} title={`since ${dateTime(openedAt)}`} className="whitespace-nowrap">
      {duration((now - Date.parse(openedAt)) / 1000)}
    </time>
  )
}
