'use client'
import { api } from '@/api/client'
import type { UsageTable } from '@/api/types'
import { Card } from '@/ui/card'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { guessWords } from '../shared/cost'
import { useSpan } from '../shared/period'
import { PeriodPicker } from '../shared/period-picker'
import { SeriesCard } from '../shared/series-card'
import { usageColumns } from '../usage/usage-columns'

export function UserHistory({ id }: { id: string }) {
  const span = useSpan()
  const usage = api.useQuery('get', '/admin/usage', {
    params: { query: { ...span, user: id, by: 'model,feature', limit: 100 } },
  })
  return (
    <>
      <div className="-mb-2 flex flex-wrap items-center justify-between gap-2">
        <h2 className="font-semibold text-base">History</h2>
        <PeriodPicker />
      </div>
      <SeriesCard
        title="Use by model"
        note={usage.data && <HistoryNote of={usage.data} />}
        by="model"
        series={usage.data ? (usage.data.series ?? undefined) : undefined}
      />
      <Card title="By model and feature" flush>
        <Answer of={usage}>
          {(data) => (
            <Table
              label="Use by model and feature"
              columns={usageColumns(['model', 'feature'])}
              rows={data.rows}
              rowId={(row) => JSON.stringify([row.model, row.feature])}
              empty={<Empty title="Nothing was used in this period" />}
            />
          )}
        </Answer>
      </Card>
    </>
  )
}

function HistoryNote({ of: { periodLabel, usage, unpricedCostUsd } }: { of: UsageTable }) {
  const guesses = guessWords(usage.estimatedCostUsd, unpricedCostUsd)
  return (
    <>
      {periodLabel}, UTC
      {guesses && <span className="block">≈ {guesses}</span>}
    </>
  )
}
