import { ShieldCheck } from 'lucide-react'
import type { Refusal } from '@/api/types'
import { Badge } from '@/ui/badge'
import { count, dateMinute } from '@/ui/format'
import { Empty } from '@/ui/notice'
import { type Columns, Table } from '@/ui/table'
import { orgColumn } from '../shared/columns'
import { UserLink } from '../shared/links'
import { measureWords, reasonWords } from './refusal-words'

interface Props {
  label: string
  rows: Refusal[] | undefined
  withUser: boolean
}

export function RefusalTable({ label, rows, withUser }: Props) {
  return (
    <Table
      label={label}
      columns={columns(withUser)}
      rows={rows}
      rowId={(row) => row.id}
      empty={
        <Empty icon={ShieldCheck} title="Nobody was refused">
          Who is refused, and why, is kept here by the minute.
        </Empty>
      }
    />
  )
}

function columns(withUser: boolean): Columns<Refusal> {
  const who: Columns<Refusal> = [
    {
      id: 'user',
      header: 'Who',
      enableSorting: false,
      cell: ({ row }) => <Who of={row.original} />,
    },
    orgColumn('lg'),
  ]
  return [
    {
      id: 'minute',
      header: 'Minute (UTC)',
      enableSorting: false,
      meta: { className: 'whitespace-nowrap' },
      cell: ({ row }) => <time dateTime={row.original.minute}>{dateMinute(row.original.minute)}</time>,
    },
    ...(withUser ? who : []),
    {
      id: 'reason',
      header: 'Why',
      enableSorting: false,
      cell: ({ row: { original } }) => (
        <span className="grid gap-0.5">
          <span>
            <Badge tone="bad">
              {reasonWords(original.reason)} · {original.closeCode}
            </Badge>
          </span>
          {original.limit && <span className="text-ink-3 text-xs">{measureWords(original.limit)}</span>}
        </span>
      ),
    },
    {
      id: 'address',
      header: 'Last from',
      enableSorting: false,
      meta: { from: 'md' },
      cell: ({ row: { original } }) =>
        original.address ?? <span className="text-ink-3">asked by /sdk/check</span>,
    },
    {
      id: 'count',
      header: 'Times',
      enableSorting: false,
      meta: { numeric: true, className: 'font-medium' },
      cell: ({ row }) => count(row.original.count),
    },
  ]
}

function Who({ of: { userId, keyId } }: { of: Refusal }) {
  if (userId !== null) return <UserLink id={userId} />
  return (
    <span className="block max-w-48 truncate" title={keyId ?? undefined}>
      {keyId} <span className="text-ink-3 text-xs">key</span>
    </span>
  )
}
