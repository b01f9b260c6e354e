'use client'
import { RefreshCw, TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'
import { cx } from './cx'
import { time } from './format'

export interface Fresh {
  dataUpdatedAt: number
  isFetching: boolean
  error: Error | null
  refetch: () => unknown
}

interface Props {
  title: ReactNode
  note?: ReactNode
  above?: ReactNode
  fresh?: Fresh
  actions?: ReactNode
}

export function PageHeader({ title, note, above, fresh, actions }: Props) {
  return (
    <header className="mb-5 flex flex-wrap items-end justify-between gap-x-6 gap-y-3">
      <div className="min-w-0 flex-[1_1_18rem]">
        {above}
        <h1 className="break-words font-semibold text-xl tracking-tight [overflow-wrap:anywhere]">{title}</h1>
        {note && <p className="mt-0.5 max-w-3xl text-ink-2">{note}</p>}
      </div>
      <div className="flex flex-wrap items-center gap-2">
        {fresh && <Freshness {...fresh} />}
        {actions}
      </div>
    </header>
  )
}

/** When the page's numbers were read. Numbers that could not be read again say so instead of looking new. */
function Freshness({ dataUpdatedAt, isFetching, error, refetch }: Fresh) {
  if (dataUpdatedAt === 0) return null
  const stale = error !== null
  return (
    <button
      type="button"
      onClick={() => refetch()}
      title={stale ? error.message : 'Refresh now'}
      className={cx(
        'flex h-8 items-center gap-1.5 rounded-lg px-2 text-xs tabular-nums',
        stale ? 'bg-warn-soft font-medium text-warn' : 'text-ink-3 hover:bg-sunken hover:text-ink-2',
      )}
    >
      {stale ? (
        <TriangleAlert className="size-3.5" aria-hidden />
      ) : (
        <RefreshCw className={cx('size-3', isFetching && 'animate-spin')} aria-hidden />
      )}
      {stale ? 'Stale, of' : 'Updated at'} {time(dataUpdatedAt)}
      {stale && '. Try again'}
    </button>
  )
}
