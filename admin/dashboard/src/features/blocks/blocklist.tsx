'use client'
import { ShieldCheck } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { Blocked } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Ago } from '@/ui/clock'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Pager } from '@/ui/pager'
import { Answer } from '@/ui/state'
import { type Columns, Table } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { UserLink } from '../shared/links'
import { BlockDialog } from './block-dialog'
import { useUnblock } from './unblock'

export function Blocklist() {
  const [blocking, setBlocking] = useState(false)
  const change = useCan('change')
  const blocked = api.useQuery('get', '/admin/blocked')
  return (
    <>
      <PageHeader
        title="Blocklist"
        note="Users who are refused now. A block that has expired leaves this list by itself."
        fresh={blocked}
        actions={
          change && (
            <Button look="primary" onClick={() => setBlocking(true)}>
              Block a user
            </Button>
          )
        }
      />
      <Card flush>
        <Answer
          of={blocked}
          loading={<Table label="Blocked users" columns={columns(false)} rows={undefined} rowId={String} />}
        >
          {(data) => (
            <>
              <Table
                label="Blocked users"
                columns={columns(change)}
                rows={data.blocked}
                rowId={(row) => row.userId}
                empty={
                  <Empty icon={ShieldCheck} title="Nobody is blocked">
                    Blocking a user ends live sessions at once and refuses new ones.
                  </Empty>
                }
              />
              <Pager text={`${count(data.blocked.length)} blocked users`} />
            </>
          )}
        </Answer>
      </Card>
      {blocking && <BlockDialog onClose={() => setBlocking(false)} />}
    </>
  )
}

function columns(change: boolean): Columns<Blocked> {
  const shown: Columns<Blocked> = [
    {
      id: 'user',
      header: 'User',
      accessorFn: (row) => row.userId,
      cell: ({ row }) => <UserLink id={row.original.userId} />,
    },
    {
      id: 'reason',
      header: 'Reason',
      enableSorting: false,
      cell: ({ row }) => (
        <span className="line-clamp-2 max-w-md [overflow-wrap:anywhere]">
          {row.original.reason ?? <span className="text-ink-3">none given</span>}
        </span>
      ),
    },
    {
      id: 'since',
      header: 'Since',
      accessorFn: (row) => row.blockedAt,
      meta: { from: 'sm' },
      cell: ({ getValue }) => <Ago at={getValue()} />,
    },
    {
      id: 'until',
      header: 'Ends',
      accessorFn: (row) => row.expiresAt ?? '',
      meta: { from: 'md' },
      cell: ({ row }) =>
        row.original.expiresAt ? (
          <Ago at={row.original.expiresAt} />
        ) : (
          <span className="text-ink-3">when lifted</span>
        ),
    },
  ]
  if (!change) return shown
  return [...shown, actionsColumn((row) => <Lift userId={row.userId} />)]
}

function Lift({ userId }: { userId: string }) {
  const unblock = useUnblock()
  return (
    <Button
      size="small"
      busy={unblock.isPending}
      aria-label={`Unblock ${userId}`}
      onClick={() => unblock.mutate({ params: { path: { id: userId } } })}
    >
      Unblock
    </Button>
  )
}
