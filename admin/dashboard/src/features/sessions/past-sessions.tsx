'use client'
import { History } from 'lucide-react'
import { api } from '@/api/client'
import type { PastSession } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Card } from '@/ui/card'
import { Ago } from '@/ui/clock'
import { duration } from '@/ui/format'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { type Columns, Table } from '@/ui/table'
import { costColumn, featureColumn, tokensColumn } from '../shared/columns'
import { UserLink } from '../shared/links'
import { closeWords } from './close-words'
import { ModelAndProvider, Transport } from './live-columns'

const SHOWN = 50

export function PastSessions({ user }: { user?: string }) {
  const past = api.useQuery('get', '/admin/sessions/past', { params: { query: { user, limit: SHOWN } } })
  const label = user ? 'Past sessions of this user' : 'Past sessions'
  return (
    <Card title={user ? 'Past sessions' : undefined} note={user && `The latest ${SHOWN}`} flush>
      <Answer
        of={past}
        loading={<Table label={label} columns={columns(!user)} rows={undefined} rowId={String} />}
      >
        {(data) => (
          <Table
            label={label}
            columns={columns(!user)}
            rows={data.sessions}
            rowId={(row) => row.id}
            empty={
              <Empty icon={History} title="No past sessions">
                Sessions are kept here once they have ended.
              </Empty>
            }
          />
        )}
      </Answer>
    </Card>
  )
}

function columns(withUser: boolean): Columns<PastSession> {
  return [
    ...(withUser
      ? [
          {
            id: 'user',
            header: 'User',
            accessorFn: (row: PastSession) => row.userId,
            cell: ({ row }: { row: { original: PastSession } }) => <UserLink id={row.original.userId} />,
          },
        ]
      : []),
    {
      id: 'model',
      header: 'Model',
      accessorFn: (row) => row.model ?? '',
      meta: { from: 'sm' },
      cell: ({ row }) => <ModelAndProvider of={row.original} />,
    },
    featureColumn('lg'),
    {
      id: 'transport',
      header: 'By',
      accessorFn: (row) => row.transport,
      meta: { from: 'lg' },
      cell: ({ row }) => <Transport of={row.original} />,
    },
    {
      id: 'closed',
      header: 'Ended',
      accessorFn: (row) => row.closedAt,
      cell: ({ getValue }) => <Ago at={getValue()} />,
    },
    {
      id: 'length',
      header: 'Was open',
      accessorFn: lengthOf,
      meta: { numeric: true, from: 'md' },
      cell: ({ getValue }) => <span className="whitespace-nowrap">{duration(getValue())}</span>,
    },
    {
      id: 'code',
      header: 'Why',
      accessorFn: (row) => row.closeCode ?? 0,
      cell: ({ row }) => <CloseBadge code={row.original.closeCode} />,
    },
    tokensColumn('md'),
    costColumn(),
  ]
}

const lengthOf = (row: PastSession) => (Date.parse(row.closedAt) - Date.parse(row.openedAt)) / 1000

function CloseBadge({ code }: { code: number | null }) {
  const { words, tone } = closeWords(code)
  return <Badge tone={tone}>{code === null ? words : `${words} · ${code}`}</Badge>
}
