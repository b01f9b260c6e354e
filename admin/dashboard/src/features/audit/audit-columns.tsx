import type { AuditEntry } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { dateTime } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { UserLink } from '../shared/links'
import { changesOf } from './changes'
import { limitBefore } from './undo'

export const auditColumns = (undo: ((entry: AuditEntry) => void) | null): Columns<AuditEntry> => [
  {
    id: 'at',
    header: 'When (UTC)',
    enableSorting: false,
    meta: { className: 'whitespace-nowrap' },
    cell: ({ row }) => (
      <time dateTime={row.original.at}>{dateTime(row.original.at).replace(' UTC', '')}</time>
    ),
  },
  {
    id: 'actor',
    header: 'Who',
    enableSorting: false,
    cell: ({ row }) => <Actor of={row.original.actor} />,
  },
  {
    id: 'action',
    header: 'Action',
    enableSorting: false,
    cell: ({ row }) => <Badge>{row.original.action}</Badge>,
  },
  {
    id: 'subject',
    header: 'Subject',
    enableSorting: false,
    cell: ({ row }) => <Subject of={row.original.subject} />,
  },
  {
    id: 'change',
    header: 'Change',
    enableSorting: false,
    meta: { from: 'md', className: 'w-[38%]' },
    cell: ({ row }) => <Change of={row.original} />,
  },
  ...(undo
    ? [
        actionsColumn<AuditEntry>(
          (row) =>
            limitBefore(row) && (
              <Button
                size="small"
                onClick={() => undo(row)}
                aria-label={`Undo ${row.action} of ${row.subject.id}`}
              >
                Undo
              </Button>
            ),
        ),
      ]
    : []),
]

function Actor({ of }: { of: AuditEntry['actor'] }) {
  return (
    <span className="block max-w-48">
      <span className="block truncate font-medium" title={of.name}>
        {of.name}
      </span>
      {of.kind !== 'token' && <span className="text-ink-3 text-xs">{of.kind}</span>}
    </span>
  )
}

function Subject({ of }: { of: AuditEntry['subject'] }) {
  if (of.kind === 'user') return <UserLink id={of.id} className="max-w-48" />
  return (
    <span className="block max-w-48">
      <span className="block truncate" title={of.id}>
        {of.id}
      </span>
      <span className="text-ink-3 text-xs">{of.kind}</span>
    </span>
  )
}

function Change({ of }: { of: AuditEntry }) {
  // The subject's own id stands in the column before.
  const changes = changesOf(of.before, of.after).filter(
    ({ before, after }) => (after ?? before) !== of.subject.id,
  )
  if (changes.length === 0) return <span className="text-ink-3">–</span>
  return (
    <ul className="grid gap-0.5 font-mono text-xs [overflow-wrap:anywhere]">
      {changes.map(({ name, before, after }) => (
        <li key={name}>
          <span className="text-ink-3">{name && `${name}: `}</span>
          {before !== undefined && <del className="text-bad">{before}</del>}
          {before !== undefined && after !== undefined && ' → '}
          {after !== undefined && <ins className="text-good no-underline">{after}</ins>}
        </li>
      ))}
    </ul>
  )
}
