'use client'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import type { Usage, Window } from '@/api/types'
import { count, usd } from '@/ui/format'
import { Stat, Stats } from '@/ui/stat'
import { guessWords } from '../shared/cost'
import { WINDOW_LABELS } from '../shared/period'

const SHOWN: Window[] = ['rolling_24h', 'daily', 'monthly', 'total']

/** The same user over each window that a limit can sum over. */
export function UserWindows({ id }: { id: string }) {
  return (
    <Stats>
      {SHOWN.map((window) => (
        <WindowStat key={window} id={id} window={window} />
      ))}
    </Stats>
  )
}

function WindowStat({ id, window }: { id: string; window: Window }) {
  const { data } = api.useQuery(
    'get',
    '/admin/users/{id}/usage',
    { params: { path: { id }, query: { period: window } } },
    { refetchInterval: LIVE_MS },
  )
  return (
    <Stat
      label={WINDOW_LABELS[window]}
      value={data && usd(data.usage.costUsd)}
      note={data && <WindowNote usage={data.usage} />}
    />
  )
}

function WindowNote({ usage }: { usage: Usage }) {
  const guesses = guessWords(usage.estimatedCostUsd, 0)
  return (
    <>
      {count(usage.totalTokens)} tokens
      {guesses && <span>≈ {guesses}</span>}
    </>
  )
}
