import Link from 'next/link'
import type { Overview } from '@/api/types'
import { buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { Empty } from '@/ui/notice'
import { type Columns, Table } from '@/ui/table'
import { costColumn, orgColumn, tokensColumn } from '../shared/columns'
import { UserLink } from '../shared/links'

type Row = Overview['topUsers'][number]

const COLUMNS: Columns<Row>[number][] = [
  {
    id: 'user',
    header: 'User',
    enableSorting: false,
    cell: ({ row }) => <UserLink id={row.original.userId} name={row.original.displayName} />,
  },
  orgColumn('sm'),
  tokensColumn('sm'),
  costColumn(),
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
