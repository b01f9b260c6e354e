'use client'
import { ChartColumn } from 'lucide-react'
import { api } from '@/api/client'
import type { UsageTable } from '@/api/types'
import { Card } from '@/ui/card'
import { count, usd } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { guessWords } from '../shared/cost'
import { OffsetPager } from '../shared/offset-pager'
import { PeriodPicker } from '../shared/period-picker'
import { SeriesCard } from '../shared/series-card'
import { CsvButton } from './csv-button'
import { Filters } from './filters'
import { GroupPicker } from './group-picker'
import { usageColumns } from './usage-columns'
import { PAGE, useUsageQuery } from './usage-query'

export function UsageExplorer() {
  const { query, groups, offset } = useUsageQuery()
  const usage = api.useQuery('get', '/admin/usage', { params: { query } })
  // What is on show may still be the answer to the question before.
  const by = usage.data?.by ?? groups
  return (
    <>
      <PageHeader
        title="Usage"
        note="Who and what used how much, sliced as you like."
        fresh={usage}
        actions={<CsvButton query={query} />}
      />
      <div className="mb-5 grid gap-3">
        <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
          <PeriodPicker />
          <GroupPicker groups={groups} />
        </div>
        <Filters />
      </div>
      <div className="grid gap-5">
        <SeriesCard
          title={
            usage.data
              ? `${usd(usage.data.usage.costUsd)} · ${count(usage.data.usage.totalTokens)} tokens`
              : 'Use over time'
          }
          note={usage.data && <Note of={usage.data} />}
          by={by[0] ?? 'model'}
          series={usage.data ? (usage.data.series ?? NO_SERIES) : undefined}
        />
        <Card flush>
          <Answer
            of={usage}
            loading={<Table label="Usage" columns={usageColumns(by)} rows={undefined} rowId={String} />}
          >
            {(data) => (
              <>
                <Table
                  label="Usage"
                  columns={usageColumns(by)}
                  rows={data.rows}
                  rowId={(row) => JSON.stringify([row.user, row.org, row.feature, row.provider, row.model])}
                  empty={
                    <Empty icon={ChartColumn} title="Nothing was used">
                      No usage matches these filters in this period. Widen the period or clear a filter.
                    </Empty>
                  }
                />
                <OffsetPager
                  offset={offset}
                  page={PAGE}
                  shown={data.rows.length}
                  total={data.total}
                  noun="rows"
                />
              </>
            )}
          </Answer>
        </Card>
      </div>
    </>
  )
}

const NO_SERIES = { grain: 'day' as const, groups: [], points: [] }

function Note({ of: { periodLabel, usage, unpricedCostUsd } }: { of: UsageTable }) {
  const guesses = guessWords(usage.estimatedCostUsd, unpricedCostUsd)
  return (
    <>
      {periodLabel}, UTC · {count(usage.requests)} responses
      {guesses && <span className="block">≈ {guesses}</span>}
    </>
  )
}
