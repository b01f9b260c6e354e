import type { Key } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import type { Columns } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { OrgLink, UserLink } from '../shared/links'

export function keyColumns(
  act: { revoke: (key: Key) => void; rotate: (key: Key) => void } | null,
  bound = true,
): Columns<Key> {
  return [
    {
      id: 'name',
      header: 'Name',
      accessorFn: (row) => row.name,
      cell: ({ row }) => <Name of={row.original} />,
    },
    {
      id: 'scopes',
      header: 'Opens',
      enableSorting: false,
      meta: { from: 'md' },
      cell: ({ row }) => (
        <span className="flex gap-1">
          {row.original.scopes.map((scope) => (
            <Badge key={scope} tone={scope === 'admin' ? 'warn' : 'neutral'}>
              {scope}
            </Badge>
          ))}
        </span>
      ),
    },
    ...(bound
      ? [
          {
            id: 'bound',
            header: 'Bound to',
            enableSorting: false,
            meta: { from: 'sm' as const },
            cell: ({ row }: { row: { original: Key } }) => <BoundTo of={row.original} />,
          },
        ]
      : []),
    { id: 'state', header: 'State', enableSorting: false, cell: ({ row }) => <KeyState of={row.original} /> },
    {
      id: 'created',
      header: 'Made',
      accessorFn: (row) => row.createdAt,
      meta: { from: 'lg' },
      cell: ({ getValue }) => <Ago at={getValue()} />,
    },
    {
      id: 'maker',
      header: 'By',
      enableSorting: false,
      meta: { from: 'lg' },
      cell: ({ row }) => <Maker of={row.original.maker} />,
    },
    ...(act ? [actionsColumn<Key>((row) => <Actions of={row} {...act} />)] : []),
  ]
}

function Name({ of }: { of: Key }) {
  return (
    <span className="block max-w-56">
      <span className="block truncate font-medium" title={of.name}>
        {of.name}
      </span>
      <code className="font-mono text-ink-3 text-xs">{of.keyHint}…</code>
    </span>
  )
}

function BoundTo({ of }: { of: Key }) {
  if (of.userId) return <UserLink id={of.userId} className="max-w-44" />
  if (of.orgId) return <OrgLink id={of.orgId} />
  return <span className="text-ink-3">nobody</span>
}

/** By whose right it was made, and opens what it does. */
function Maker({ of }: { of: Key['maker'] }) {
  if (!of) return <span className="text-ink-3">unknown</span>
  if (of.kind === 'token') return <span className="text-ink-3">operator’s token</span>
  const name = of.email ?? 'a login that is gone'
  return (
    <span className="block max-w-44 truncate" title={of.email ?? of.id ?? undefined}>
      {name}
    </span>
  )
}

function KeyState({ of }: { of: Key }) {
  const expired = of.expiresAt !== null && Date.parse(of.expiresAt) <= Date.now()
  if (of.revokedAt && Date.parse(of.revokedAt) <= Date.now()) return <Badge>Revoked</Badge>
  if (expired) return <Badge>Expired</Badge>
  const ends = of.revokedAt ?? of.expiresAt
  if (!ends) return <Badge tone="good">Valid</Badge>
  return (
    <span className="inline-flex flex-wrap items-center gap-1.5">
      <Badge tone="good">Valid</Badge>
      <span className="text-ink-3 text-xs">
        ends <Ago at={ends} />
      </span>
    </span>
  )
}

function Actions({
  of,
  revoke,
  rotate,
}: {
  of: Key
  revoke: (key: Key) => void
  rotate: (key: Key) => void
}) {
  if (of.revokedAt) return null
  return (
    <span className="inline-flex gap-1.5">
      {of.userId && (
        <Button size="small" onClick={() => rotate(of)} aria-label={`Rotate ${of.name}`}>
          Rotate
        </Button>
      )}
      <Button size="small" look="danger" onClick={() => revoke(of)} aria-label={`Revoke ${of.name}`}>
        Revoke
      </Button>
    </span>
  )
}
