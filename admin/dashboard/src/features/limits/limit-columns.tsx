import type { HolderLimit } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { count, usd } from '@/ui/format'
import { Progress } from '@/ui/progress'
import type { Columns } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { HolderName, KIND_LABELS, limitWords, ModeBadge, StateBadge } from './limit-words'

/** The ids of what is sorted are the API's names. */
export function limitColumns(edit: ((row: HolderLimit) => void) | null): Columns<HolderLimit> {
  return [
    {
      id: 'holder',
      header: 'Holder',
      accessorFn: (row) => row.id,
      cell: ({ row }) => <HolderName of={row.original} />,
    },
    {
      id: 'kind',
      header: 'Kind',
      enableSorting: false,
      meta: { from: 'md' },
      cell: ({ row }) => <Badge>{KIND_LABELS[row.original.kind]}</Badge>,
    },
    {
      id: 'limit',
      header: 'Limit',
      enableSorting: false,
      meta: { from: 'sm' },
      cell: ({ row }) => (
        <>
          {limitWords(row.original.limit)}
          {row.original.isDefault && <span className="text-ink-3"> (default)</span>}
        </>
      ),
    },
    {
      id: 'used',
      header: 'Used',
      accessorFn: (row) => row.percent ?? -1,
      meta: { className: 'min-w-44' },
      cell: ({ row: { original } }) => (
        <span className="grid gap-0.5">
          {original.percent !== null && (
            <Progress
              value={original.percent}
              state={original.state}
              label={`Used by ${original.name ?? original.id}`}
            />
          )}
          <span className="text-ink-3 text-xs">
            {usd(original.used.costUsd)}, {count(original.used.tokens)} tokens
          </span>
        </span>
      ),
    },
    {
      id: 'mode',
      header: 'At the limit',
      enableSorting: false,
      cell: ({ row }) => <ModeBadge mode={row.original.limit.mode} />,
    },
    {
      id: 'state',
      header: 'State',
      enableSorting: false,
      meta: { from: 'lg' },
      cell: ({ row }) => <StateBadge state={row.original.state} mode={row.original.limit.mode} />,
    },
    {
      id: 'resets',
      header: 'Resets',
      enableSorting: false,
      meta: { from: 'xl' },
      cell: ({ row }) =>
        row.original.resetsAt ? (
          <Ago at={row.original.resetsAt} />
        ) : (
          <span className="text-ink-3">rolls</span>
        ),
    },
    ...(edit
      ? [
          actionsColumn<HolderLimit>((row) => (
            <Button
              size="small"
              onClick={() => edit(row)}
              aria-label={`Edit the limit of ${row.name ?? row.id}`}
            >
              Edit
            </Button>
          )),
        ]
      : []),
  ]
}
