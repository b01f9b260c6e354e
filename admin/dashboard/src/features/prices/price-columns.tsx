import type { Price } from '@/api/types'
import { Badge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { date, usdPrice } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { actionsColumn } from '../shared/columns'
import { KINDS, type PriceKind } from './price-kinds'

const FROM: Partial<Record<PriceKind, 'sm' | 'md' | 'lg' | 'xl'>> = {
  cachedTextIn: 'lg',
  audioIn: 'md',
  cachedAudioIn: 'xl',
  audioOut: 'md',
}
const COLUMNS: PriceKind[] = ['textIn', 'cachedTextIn', 'textOut', 'audioIn', 'cachedAudioIn', 'audioOut']
const SHOWN = KINDS.filter(({ kind }) => COLUMNS.includes(kind))

export function priceColumns(
  act: { edit: (price: Price) => void; remove: (price: Price) => void } | null,
): Columns<Price> {
  return [
    {
      id: 'model',
      header: 'Model',
      accessorFn: (row) => row.model,
      cell: ({ row }) => <Model of={row.original} />,
    },
    {
      id: 'source',
      header: 'From',
      enableSorting: false,
      meta: { from: 'sm' },
      cell: ({ row }) => <Source of={row.original} />,
    },
    ...SHOWN.map(({ kind, label }) => ({
      id: kind,
      header: label,
      accessorFn: (row: Price) => row.usdPerMillion[kind] ?? -1,
      meta: { numeric: true, from: FROM[kind] },
      cell: ({ row }: { row: { original: Price } }) => <Amount usd={row.original.usdPerMillion[kind]} />,
    })),
    {
      id: 'minute',
      header: 'Per minute',
      accessorFn: (row) => row.usdPerMinute ?? -1,
      meta: { numeric: true, from: 'xl' },
      cell: ({ row }) => <Amount usd={row.original.usdPerMinute} />,
    },
    ...(act ? [actionsColumn<Price>((row) => <Actions of={row} {...act} />)] : []),
  ]
}

function Model({ of }: { of: Price }) {
  return (
    <span className="block max-w-64">
      <span
        className="block truncate font-medium"
        title={of.aliases.length > 0 ? `also ${of.aliases.join(', ')}` : of.model}
      >
        {of.model}
      </span>
      <span className="block truncate text-ink-3 text-xs">{of.provider ?? 'any provider'}</span>
      {of.conditions && (
        <span className="block truncate text-ink-3 text-xs" title={of.conditions}>
          {of.conditions}
          {of.factor !== null && ` × ${of.factor}`}
        </span>
      )}
    </span>
  )
}

const SOURCES: Record<Price['source'], string> = { builtin: 'Built in', file: 'File', api: 'Set here' }

function Source({ of }: { of: Price }) {
  return (
    <span className="inline-flex flex-col items-start gap-0.5">
      <Badge tone={of.source === 'api' ? 'accent' : 'neutral'}>{SOURCES[of.source]}</Badge>
      {of.effectiveFrom && <span className="text-ink-3 text-xs">from {date(of.effectiveFrom)}</span>}
    </span>
  )
}

function Amount({ usd }: { usd: number | null | undefined }) {
  if (usd === null || usd === undefined)
    return (
      <span className="text-ink-3" title="no price of its own">
        –
      </span>
    )
  return <>{usdPrice(usd)}</>
}

function Actions({
  of,
  edit,
  remove,
}: {
  of: Price
  edit: (price: Price) => void
  remove: (price: Price) => void
}) {
  return (
    <span className="inline-flex gap-1.5">
      <Button size="small" onClick={() => edit(of)} aria-label={`Edit the price of ${of.model}`}>
        Edit
      </Button>
      {of.source === 'api' && of.id && (
        <Button
          size="small"
          look="danger"
          onClick={() => remove(of)}
          aria-label={`Remove the price of ${of.model}`}
        >
          Remove
        </Button>
      )}
    </span>
  )
}
