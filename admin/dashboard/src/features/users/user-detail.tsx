'use client'
import { ChevronLeft } from 'lucide-react'
import Link from 'next/link'
import { useState } from 'react'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { useCan } from '@/api/role'
import type { User } from '@/api/types'
import { Button } from '@/ui/button'
import { dateTime } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty, Note } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { BlockDialog } from '../blocks/block-dialog'
import { useUnblock } from '../blocks/unblock'
import { OwnKeys } from '../keys/own-keys'
import { measureWords } from '../refusals/refusal-words'
import { UserRefusals } from '../refusals/user-refusals'
import { LiveSessions } from '../sessions/live-sessions'
import { PastSessions } from '../sessions/past-sessions'
import { OrgLink } from '../shared/links'
import { useUrl } from '../shared/url'
import { UserState } from './user-columns'
import { UserHistory } from './user-history'
import { UserLimit } from './user-limit'
import { UserWindows } from './user-windows'

export function UserDetail() {
  const id = useUrl().get('user')
  if (!id)
    return (
      <Empty
        title="No user is named"
        action={
          <Link href="/users" className="underline">
            All users
          </Link>
        }
      />
    )
  return <OneUser key={id} id={id} />
}

function OneUser({ id }: { id: string }) {
  const user = api.useQuery(
    'get',
    '/admin/users/{id}/usage',
    { params: { path: { id }, query: { period: 'monthly' } } },
    { refetchInterval: LIVE_MS },
  )
  return (
    <>
      <PageHeader
        title={user.data?.name || id}
        above={
          <Link
            href="/users"
            className="mb-1 inline-flex items-center gap-0.5 text-ink-3 text-xs hover:text-ink"
          >
            <ChevronLeft aria-hidden className="size-3.5" /> Users
          </Link>
        }
        note={user.data && <Facts user={user.data} />}
        fresh={user}
        actions={user.data && <BlockButton user={user.data} />}
      />
      <Answer of={user}>
        {(data) => (
          <div className="grid gap-5">
            {data.blockEntry && <BlockNote entry={data.blockEntry} />}
            {data.limitReached && <LimitNote reached={data.limitReached} resetsAt={data.resetsAt} />}
            <UserWindows id={id} />
            <UserLimit id={id} orgId={data.orgId} />
            <UserHistory id={id} />
            <UserRefusals id={id} />
            <LiveSessions user={id} />
            <PastSessions user={id} />
            <OwnKeys userId={id} />
          </div>
        )}
      </Answer>
    </>
  )
}

function Facts({ user }: { user: User }) {
  return (
    <span className="flex flex-wrap items-center gap-x-3 gap-y-1">
      <UserState user={user} />
      {user.name && <code className="font-mono text-xs [overflow-wrap:anywhere]">{user.userId}</code>}
      {user.email && <span>{user.email}</span>}
      {user.orgId && (
        <span className="inline-flex items-center gap-1">
          of <OrgLink id={user.orgId} />
        </span>
      )}
    </span>
  )
}

function BlockNote({ entry }: { entry: NonNullable<User['blockEntry']> }) {
  return (
    <Note tone="bad">
      <strong className="font-semibold">Blocked</strong> since {dateTime(entry.blockedAt)}
      {entry.expiresAt ? `, until ${dateTime(entry.expiresAt)}` : ', until somebody lifts it'}.
      {entry.reason && <span className="block [overflow-wrap:anywhere]">Reason: {entry.reason}</span>}
    </Note>
  )
}

function LimitNote({
  reached,
  resetsAt,
}: {
  reached: NonNullable<User['limitReached']>
  resetsAt: User['resetsAt']
}) {
  return (
    <Note tone="bad">
      <strong className="font-semibold">Refused</strong>: {measureWords(reached)} are used.{' '}
      {resetsAt ? `The limit resets ${dateTime(resetsAt)}.` : 'The limit does not reset by itself.'}
    </Note>
  )
}

function BlockButton({ user }: { user: User }) {
  const [blocking, setBlocking] = useState(false)
  const unblock = useUnblock()
  if (!useCan('change')) return null
  if (user.blocked)
    return (
      <Button
        busy={unblock.isPending}
        onClick={() => unblock.mutate({ params: { path: { id: user.userId } } })}
      >
        Unblock
      </Button>
    )
  return (
    <>
      <Button look="danger" onClick={() => setBlocking(true)}>
        Block
      </Button>
      {blocking && <BlockDialog userId={user.userId} onClose={() => setBlocking(false)} />}
    </>
  )
}
