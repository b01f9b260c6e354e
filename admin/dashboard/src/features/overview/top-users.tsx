import Link from 'next/link'
import type { Overview } from '@/api/types'
import { buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { count, usd } from '@/ui/format'
import { Empty } from '@/ui/notice'
import { type Columns, Table } from '@/ui/table'
import { OrgLink, UserLink } from '../shared/links'

type Row = Overview['topUsers'][number]

const COLUMNS: Columns<Row>[number][] = [
  {
    id: 'user',
    header: 'User',
    enableSorting: false,
    cell: ({ row }) => <UserLink id={row.original.userId} name={row.original.displayName} />,
  },
  {
    id: 'org',
    header: 'Org',
    enableSorting: false,
    meta: { from: 'sm' },
    cell: ({ row }) => <OrgLink id={row.original.orgId} />,
  },
  {
    id: 'tokens',
    header: 'Tokens',
    accessorFn: (row) => row.usage.totalTokens,
    meta: { numeric: true, from: 'sm' },
    cell: ({ getValue }) => count(getValue()),
  },
  {
    id: 'cost',
    header: 'Cost',
    accessorFn: (row) => row.usage.costUsd,
    meta: { numeric: true, className: 'font-medium' },
    cell: ({ getValue }) => usd(getValue()),
  },
]

export function TopUsers({ users }: { users: Row[] }) {
  return (
    <Card
      title="Top users"
      note="The dearest of this period"
      flush
      actions={
        <Link href="/users" className={buttonClass('quiet', 'small')}>
          All users
        </Link>
      }
    >
      <Table
        label="Top users by cost"
        columns={COLUMNS}
        rows={users}
        rowId={(row) => row.userId}
        empty={<Empty title="Nobody used anything in this period" />}
      />
    </Card>
  )
}
