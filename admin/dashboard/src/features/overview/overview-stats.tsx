import Link from 'next/link'
import type { Overview } from '@/api/types'
import { change, count, countShort, date, usd, usdShort } from '@/ui/format'
import { Stat, Stats } from '@/ui/stat'
import { guessWords } from '../shared/cost'

export function OverviewStats({ data }: { data?: Overview }) {
  const before = data?.previous
  const note = before && (
    <span title={`${date(before.from)} to ${date(before.to)}, UTC`}>against the period before</span>
  )
  const guesses = data && guessWords(data.usage.estimatedCostUsd, data.unpricedCostUsd)
  return (
    <Stats>
      <Stat
        label="Cost, US dollars"
        value={data && usdShort(data.usage.costUsd)}
        title={data && usd(data.usage.costUsd)}
        change={before && change(data.usage.costUsd, before.usage.costUsd)}
        note={
          <>
            {note}
            {guesses && <span>≈ {guesses}</span>}
          </>
        }
      />
      <Stat
        label="Tokens"
        value={data && countShort(data.usage.totalTokens)}
        title={data && `${count(data.usage.totalTokens)} tokens`}
        change={before && change(data.usage.totalTokens, before.usage.totalTokens)}
        note={data && `${countShort(data.usage.inputTokens)} in, ${countShort(data.usage.outputTokens)} out`}
      />
      <Stat
        label="Active users"
        value={data && count(data.activeUsers)}
        change={before && change(data.activeUsers, before.activeUsers)}
        note={
          data &&
          data.blockedUsers > 0 && (
            <Link className="underline underline-offset-2" href="/blocks">
              {count(data.blockedUsers)} blocked
            </Link>
          )
        }
      />
      <Stat
        label="Live sessions"
        value={data && count(data.liveSessions)}
        note={
          <Link className="underline underline-offset-2" href="/sessions">
            See them
          </Link>
        }
      />
    </Stats>
  )
}
