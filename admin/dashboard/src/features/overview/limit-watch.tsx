'use client'
import Link from 'next/link'
import { api } from '@/api/client'
import { buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { Empty } from '@/ui/notice'
import { Progress } from '@/ui/progress'
import { Answer } from '@/ui/state'
import { HolderName, isBinding, limitWords } from '../limits/limit-words'

const SHOWN = 8

/** The limits that are fullest: what will be refused next. */
export function LimitWatch() {
  const limits = api.useQuery('get', '/admin/limits', {
    params: { query: { sort: 'used', defaults: true, limit: SHOWN } },
  })
  return (
    <Card
      title="Closest to their limit"
      note="Share used in the window that holds now"
      flush
      actions={
        <Link href="/limits" className={buttonClass('quiet', 'small')}>
          All limits
        </Link>
      }
    >
      <Answer of={limits}>
        {(data) => {
          const fullest = data.limits.filter((each) => each.percent !== null)
          if (fullest.length === 0)
            return isBinding(data.default) ? (
              <Empty title="Nobody has come near">
                Every user may use {limitWords(data.default)}, the default. The fullest show here.
              </Empty>
            ) : (
              <Empty title="No limits are set">
                Give users, orgs or keys a limit, and the fullest show here.
              </Empty>
            )
          return (
            <ul className="divide-y">
              {fullest.map((each) => (
                <li key={`${each.kind} ${each.id}`} className="grid gap-1.5 px-4 py-2.5 sm:px-5">
                  <span className="flex items-baseline justify-between gap-3">
                    <HolderName of={each} />
                    <span className="truncate text-ink-3 text-xs">{limitWords(each.limit)}</span>
                  </span>
                  <Progress
                    value={each.percent ?? 0}
                    state={each.state}
                    label={`Limit of ${each.name ?? each.id}`}
                  />
                </li>
              ))}
            </ul>
          )
        }}
      </Answer>
    </Card>
  )
}
