'use client'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import type { By } from '@/api/types'
import { Select } from '@/ui/field'
import { PageHeader } from '@/ui/header'
import { Loading } from '@/ui/skeleton'
import { Answer } from '@/ui/state'
import { useSpan } from '../shared/period'
import { PeriodPicker } from '../shared/period-picker'
import { SeriesCard } from '../shared/series-card'
import { oneOf, useUrl } from '../shared/url'
import { Connect } from './connect'
import { LimitWatch } from './limit-watch'
import { OverviewStats } from './overview-stats'
import { TopUsers } from './top-users'

const GROUPINGS = ['model', 'feature', 'org', 'provider', 'user'] as const satisfies By[]

export function Overview() {
  const { get, set } = useUrl()
  const span = useSpan()
  const by = oneOf(GROUPINGS, get('by'))
  const overview = api.useQuery(
    'get',
    '/admin/overview',
    { params: { query: { ...span, by } } },
    { refetchInterval: LIVE_MS },
  )
  // Whether anything was ever counted decides between numbers and how to connect.
  const ever = api.useQuery('get', '/admin/overview', { params: { query: { period: 'total', by: 'model' } } })
  const quiet = overview.data?.usage.requests === 0 && overview.data.liveSessions === 0
  const unused = quiet && ever.data?.usage.requests === 0
  return (
    <>
      <PageHeader
        title="Overview"
        note={overview.data?.periodLabel}
        fresh={overview}
        actions={<PeriodPicker />}
      />
      <Answer of={overview} loading={<Waiting by={by} />}>
        {(data) => (
          <div className="grid gap-5">
            {unused && <Connect />}
            <OverviewStats data={data} />
            {quiet && ever.isPending ? (
              <Loading className="h-96" />
            ) : (
              !unused && (
                <>
                  <SeriesCard
                    title={`Use by ${data.by}`}
                    note={`Per ${data.series.grain}, UTC`}
                    by={data.by}
                    series={data.series}
                    actions={
                      <Select
                        aria-label="Group by"
                        className="w-28!"
                        value={by}
                        onChange={(event) => set({ by: event.target.value })}
                      >
                        {GROUPINGS.map((each) => (
                          <option key={each} value={each}>
                            By {each}
                          </option>
                        ))}
                      </Select>
                    }
                  />
                  <div className="grid items-start gap-5 xl:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
                    <TopUsers users={data.topUsers} />
                    <LimitWatch />
                  </div>
                </>
              )
            )}
          </div>
        )}
      </Answer>
    </>
  )
}

function Waiting({ by }: { by: By }) {
  return (
    <div className="grid gap-5">
      <OverviewStats />
      <SeriesCard title={`Use by ${by}`} by={by} series={undefined} />
    </div>
  )
}
