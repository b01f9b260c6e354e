'use client'
import { PageHeader } from '@/ui/header'
import { Segmented } from '@/ui/segmented'
import { oneOf, useUrl } from '../shared/url'
import { LiveSessions, useLiveSessions } from './live-sessions'
import { PastSessions } from './past-sessions'

const VIEWS = [
  { value: 'live', label: 'Live' },
  { value: 'past', label: 'Past' },
] as const

export function SessionList() {
  const { get, set } = useUrl()
  const view = oneOf(['live', 'past'], get('view'))
  const sessions = useLiveSessions()
  return (
    <>
      <PageHeader
        title="Live sessions"
        note="One user’s application paired with one provider. Costs are those of the session so far."
        fresh={sessions}
        actions={
          <Segmented
            label="Sessions"
            value={view}
            options={VIEWS}
            onChange={(next) => set({ view: next === 'live' ? null : next })}
          />
        }
      />
      {view === 'live' ? <LiveSessions /> : <PastSessions />}
    </>
  )
}
