import type { ReactNode } from 'react'
import type { Usage } from '@/api/types'
import { count } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { Cost } from './cost'
import { OrgLink } from './links'

type Column<Row> = Columns<Row>[number]
type From = NonNullable<Column<unknown>['meta']>['from']

/** Of what an org used; left out below the width `from`, as all of these. */
export function orgColumn<Row extends { orgId: string | null }>(from: From): Column<Row> {
  return {
    id: 'org',
    header: 'Org',
    enableSorting: false,
    meta: { from },
    cell: ({ row }) => <OrgLink id={row.original.orgId} />,
  }
}

export function featureColumn<Row extends { feature: string | null }>(from: From): Column<Row> {
  return {
    id: 'feature',
    header: 'Feature',
    accessorFn: (row) => row.feature ?? '',
    meta: { from },
    cell: ({ row }) => row.original.feature ?? <span className="text-ink-3">none</span>,
  }
}

export function tokensColumn<Row extends { usage: Usage }>(from: From): Column<Row> {
  return {
    id: 'tokens',
    header: 'Tokens',
    accessorFn: (row) => row.usage.totalTokens,
    meta: { numeric: true, from },
    cell: ({ getValue }) => count(getValue()),
  }
}

export function costColumn<Row extends { usage: Usage; unpriced?: boolean }>(from?: From): Column<Row> {
  return {
    id: 'cost',
    header: 'Cost',
    accessorFn: (row) => row.usage.costUsd,
    meta: { numeric: true, from, className: 'font-medium' },
    cell: ({ row }) => <Cost usage={row.original.usage} unpriced={row.original.unpriced} />,
  }
}

/** What can be done with a row. */
export function actionsColumn<Row>(actions: (row: Row) => ReactNode): Column<Row> {
  return {
    id: 'actions',
    header: () => <span className="sr-only">Actions</span>,
    enableSorting: false,
    meta: { className: 'whitespace-nowrap text-right' },
    cell: ({ row }) => actions(row.original),
  }
}
