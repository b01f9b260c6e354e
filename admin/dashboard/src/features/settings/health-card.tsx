'use client'
import type { ReactNode } from 'react'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import type { Health } from '@/api/types'
import { Badge, type Tone } from '@/ui/badge'
import { Card } from '@/ui/card'
import { count, dateTime, duration } from '@/ui/format'
import { Note } from '@/ui/notice'
import { Answer } from '@/ui/state'

const STATES: Record<Health['status'], [string, Tone]> = {
  ok: ['Healthy', 'good'],
  degraded: ['Degraded', 'warn'],
  draining: ['Draining', 'warn'],
  failing: ['Failing', 'bad'],
}

export function HealthCard() {
  const health = api.useQuery('get', '/health', {}, { refetchInterval: LIVE_MS })
  return (
    <Card
      title="Health"
      actions={
        health.data && (
          <Badge dot tone={STATES[health.data.status][1]}>
            {STATES[health.data.status][0]}
          </Badge>
        )
      }
    >
      <Answer of={health}>
        {(data) => (
          <div className="grid gap-4">
            <dl className="grid grid-cols-2 gap-x-6 gap-y-4 sm:grid-cols-3 lg:grid-cols-4">
              <Fact name="Version">{data.version}</Fact>
              <Fact name="Up for">
                <span title={`since ${dateTime(data.startedAt)}`}>{duration(data.uptimeSeconds)}</span>
              </Fact>
              <Fact name="Live sessions">{data.sessions === null ? 'unknown' : count(data.sessions)}</Fact>
              <Fact name="Users in memory">{data.users === null ? 'unknown' : count(data.users)}</Fact>
              <Fact name="Store">{data.store}</Fact>
              <Fact name="Driver">{data.driver}</Fact>
              <Fact name="Instances">
                {data.instances === null ? 'this one alone' : count(data.instances)}
              </Fact>
              <Fact name="Waiting for the mirror">
                {data.mirrorWaiting === null ? 'no mirror' : `${count(data.mirrorWaiting)} writes`}
              </Fact>
            </dl>
            {data.problems.map((problem) => (
              <Note key={problem} tone="bad">
                {problem}
              </Note>
            ))}
            {data.threadsRestarted.map(({ name, restarts, failure }) => (
              <Note key={name} tone="warn">
                The thread {name} has panicked {restarts === 1 ? 'once' : `${count(restarts)} times`} and was
                begun anew: {failure ?? 'no reason given'}
              </Note>
            ))}
          </div>
        )}
      </Answer>
    </Card>
  )
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt className="text-ink-3 text-xs">{name}</dt>
      <dd className="mt-0.5 font-medium tabular-nums">{children}</dd>
    </div>
  )
}
