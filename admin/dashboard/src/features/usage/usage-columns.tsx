import type { By, UsageRow } from '@/api/types'
import { count } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { costColumn, tokensColumn } from '../shared/columns'
import { OrgLink, UserLink } from '../shared/links'

export function usageColumns(groups: By[]): Columns<UsageRow> {
  return [
    ...groups.map((group) => ({
      id: group,
      header: NAMES[group],
      enableSorting: false,
      cell: ({ row }: { row: { original: UsageRow } }) => <Name row={row.original} by={group} />,
    })),
    {
      id: 'requests',
      header: 'Responses',
      accessorFn: (row) => row.usage.requests,
      meta: { numeric: true, from: 'lg' },
      cell: ({ getValue }) => count(getValue()),
    },
    {
      id: 'in',
      header: 'Tokens in',
      accessorFn: (row) => row.usage.inputTokens,
      meta: { numeric: true, from: 'md' },
      cell: ({ getValue }) => count(getValue()),
    },
    {
      id: 'out',
      header: 'Tokens out',
      accessorFn: (row) => row.usage.outputTokens,
      meta: { numeric: true, from: 'md' },
      cell: ({ getValue }) => count(getValue()),
    },
    tokensColumn('sm'),
    costColumn(),
  ]
}

const NAMES: Record<By, string> = {
  model: 'Model',
  feature: 'Feature',
  provider: 'Provider',
  org: 'Org',
  user: 'User',
}

function Name({ row, by }: { row: UsageRow; by: By }) {
  const value = row[by]
  if (value === null) return <span className="text-ink-3">none</span>
  if (by === 'user') return <UserLink id={value} name={row.displayName} />
  if (by === 'org') return <OrgLink id={value} />
  return (
    <span className="block max-w-56 truncate" title={value}>
      {value}
    </span>
  )
}
