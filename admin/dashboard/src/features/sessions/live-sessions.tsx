'use client'
import { Activity } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { useCan } from '@/api/role'
import type { Session } from '@/api/types'
import { Card } from '@/ui/card'
import { Confirm } from '@/ui/confirm'
import { count } from '@/ui/format'
import { Empty } from '@/ui/notice'
import { Pager } from '@/ui/pager'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { liveColumns } from './live-columns'

const SHOWN_MAX = 1000

export function useLiveSessions() {
  return api.useQuery(
    'get',
    '/admin/sessions',
    { params: { query: { limit: SHOWN_MAX } } },
    { refetchInterval: LIVE_MS },
  )
}

/** Of everybody, or of one user. */
export function LiveSessions({ user }: { user?: string }) {
  const [killed, setKilled] = useState<Session | null>(null)
  const change = useCan('change')
  const sessions = useLiveSessions()
  const label = user ? 'Live sessions of this user' : 'Live sessions'
  return (
    <Card title={user ? 'Live sessions' : undefined} flush>
      <Answer
        of={sessions}
        loading={<Table label={label} columns={liveColumns(null, !user)} rows={undefined} rowId={String} />}
      >
        {(data) => {
          const rows = user ? data.sessions.filter((each) => each.userId === user) : data.sessions
          return (
            <>
              <Table
                label={label}
                columns={liveColumns(change ? setKilled : null, !user)}
                rows={rows}
                rowId={(row) => row.sessionId}
                empty={
                  <Empty icon={Activity} title="No live sessions">
                    Sessions show here from the moment they are admitted.
                  </Empty>
                }
              />
              {rows.length > 0 && !user && (
                <Pager
                  text={
                    data.total > rows.length
                      ? `The oldest ${count(rows.length)} of ${count(data.total)} sessions`
                      : `${count(data.total)} sessions`
                  }
                />
              )}
            </>
          )
        }}
      </Answer>
      {killed && <Kill session={killed} onClose={() => setKilled(null)} />}
    </Card>
  )
}

function Kill({ session, onClose }: { session: Session; onClose: () => void }) {
  const kill = api.useMutation('delete', '/admin/sessions/{id}', { onSuccess: onClose })
  return (
    <Confirm
      open
      onClose={onClose}
      title="End this session?"
      verb="End session"
      busy={kill.isPending}
      error={kill.error?.message}
      onConfirm={() => kill.mutate({ params: { path: { id: session.sessionId } } })}
    >
      The session of{' '}
      <strong className="font-semibold text-ink [overflow-wrap:anywhere]">{session.userId}</strong> closes at
      once with code 4003. The user may open another; to prevent that, block the user.
    </Confirm>
  )
}
