import type { ReactNode } from 'react'
import type { Session } from '@/api/types'
import { Button } from '@/ui/button'
import { useNow } from '@/ui/clock'
import { dateTime, duration, usd } from '@/ui/format'
import type { Columns } from '@/ui/table'
import { actionsColumn, costColumn, featureColumn, orgColumn, tokensColumn } from '../shared/columns'
import { UserLink } from '../shared/links'

export function liveColumns(kill: ((row: Session) => void) | null, withUser: boolean): Columns<Session> {
  const user: Columns<Session> = [
    {
      id: 'user',
      header: 'User',
      accessorFn: (row) => row.userId,
      cell: ({ row }) => <UserLink id={row.original.userId} />,
    },
    orgColumn('xl'),
  ]
  const rest: Columns<Session> = [
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
      cell: ({ row }) => (
        <Transport of={row.original}>
          {row.original.hangupFails && <span className="block text-bad text-xs">does not end</span>}
        </Transport>
      ),
    },
    {
      id: 'age',
      header: 'Open for',
      accessorFn: (row) => row.ageSeconds,
      meta: { numeric: true, from: 'sm' },
      cell: ({ row }) => <Age openedAt={row.original.openedAt} />,
    },
    tokensColumn('md'),
    {
      id: 'rate',
      header: 'Cost per min',
      accessorFn: (row) => row.costPerMinuteUsd,
      meta: { numeric: true },
      cell: ({ getValue }) => usd(getValue()),
    },
    costColumn('sm'),
  ]
  const end = actionsColumn<Session>((row) => (
    <Button
      size="small"
      look="danger"
      aria-label={`End the session of ${row.userId}`}
      onClick={() => kill?.(row)}
    >
      End
    </Button>
  ))
  return [...(withUser ? user : []), ...rest, ...(kill ? [end] : [])]
}

export function ModelAndProvider({ of }: { of: { model: string | null; provider: string } }) {
  return (
    <span className="block max-w-52">
      <span className="block truncate" title={of.model ?? undefined}>
        {of.model ?? <span className="text-ink-3">not known yet</span>}
      </span>
      <span className="block truncate text-ink-3 text-xs">{of.provider}</span>
    </span>
  )
}

const TRANSPORTS: Record<string, string> = {
  websocket: 'WebSocket',
  http: 'HTTP',
  webrtc: 'WebRTC',
  sip: 'SIP',
}

/** By what a session's events pass, and of a call how its provider knows it. */
export function Transport({
  of,
  children,
}: {
  of: { transport: string; callId: string | null }
  children?: ReactNode
}) {
  return (
    <span className="block max-w-32">
      <span className="block">{TRANSPORTS[of.transport] ?? of.transport}</span>
      {of.callId && (
        <span className="block truncate text-ink-3 text-xs" title={of.callId}>
          {of.callId}
        </span>
      )}
      {children}
    </span>
  )
}

/** Runs on between two answers of the API. */
function Age({ openedAt }: { openedAt: string }) {
  const now = useNow()
  return (
    <time dateTime={openedAt} title={`since ${dateTime(openedAt)}`} className="whitespace-nowrap">
      {duration((now - Date.parse(openedAt)) / 1000)}
    </time>
  )
}
