'use client'
import type { ReactNode } from 'react'
import { useState } from 'react'
import type { By, Series } from '@/api/types'
import { Card } from '@/ui/card'
import { coloursOf } from '@/ui/chart/colour'
import { Legend } from '@/ui/chart/legend'
import { Numbers } from '@/ui/chart/numbers'
import { StackedBars, type StackProps } from '@/ui/chart/stacked-bars'
import { count, countShort, dateMinute, point, pointFull, usd, usdShort, usdTick } from '@/ui/format'
import { Segmented } from '@/ui/segmented'
import { Loading } from '@/ui/skeleton'

type Measure = 'cost' | 'tokens'
interface Props {
  title: string
  note?: ReactNode
  by: By
  series: Series | undefined
  actions?: ReactNode
}

export function SeriesCard({ title, note, by, series, actions }: Props) {
  const [measure, setMeasure] = useState<Measure>('cost')
  const [view, setView] = useState<'chart' | 'table'>('chart')
  return (
    <Card
      title={title}
      note={note}
      actions={
        <>
          {actions}
          <Segmented label="Measure" value={measure} options={MEASURES} onChange={setMeasure} />
          <Segmented label="Show as" value={view} options={VIEWS} onChange={setView} />
        </>
      }
    >
      {series ? (
        <Body series={series} by={by} measure={measure} view={view} />
      ) : (
        <Loading label="Loading the chart" className="h-72" />
      )}
    </Card>
  )
}

const MEASURES = [
  { value: 'cost', label: 'Cost' },
  { value: 'tokens', label: 'Tokens' },
] as const
const VIEWS = [
  { value: 'chart', label: 'Chart' },
  { value: 'table', label: 'Table' },
] as const

function Body({
  series,
  by,
  measure,
  view,
}: {
  series: Series
  by: By
  measure: Measure
  view: 'chart' | 'table'
}) {
  if (series.groups.length === 0)
    return <p className="grid h-72 place-items-center text-ink-3">Nothing was used in this period.</p>
  const stack = stackOf(series, by, measure)
  const short = measure === 'cost' ? usdShort : countShort
  return (
    <>
      {view === 'chart' ? <StackedBars {...stack} /> : <Numbers {...stack} />}
      <Legend
        entries={series.groups.map((group, index) => ({
          label: stack.groups[index]?.label ?? '',
          colour: stack.groups[index]?.colour ?? '',
          value: short(measure === 'cost' ? group.usage.costUsd : group.usage.totalTokens),
        }))}
      />
    </>
  )
}

// Over more than a day an hour needs its date.
const HOURS_OF_A_DAY = 25

function stackOf(series: Series, by: By, measure: Measure): StackProps {
  const { grain, groups, points } = series
  const colours = coloursOf(
    by,
    groups.map(({ key, other }) => (other ? null : (key ?? ''))),
  )
  return {
    groups: groups.map(({ key, other }, index) => ({
      label: other ? 'All others' : (key ?? `No ${by}`),
      colour: colours[index] ?? '',
    })),
    points: points.map((each) => ({
      label: grain === 'hour' && points.length > HOURS_OF_A_DAY ? dateMinute(each.at) : point(each.at, grain),
      full: pointFull(each.at, grain),
      values: measure === 'cost' ? each.costUsd : each.totalTokens,
    })),
    format: measure === 'cost' ? usd : (n) => `${count(n)} tokens`,
    formatTick: measure === 'cost' ? usdTick : countShort,
    description: `${measure === 'cost' ? 'Cost in US dollars' : 'Tokens'} per ${grain} by ${by}, UTC. The table shows the same numbers.`,
  }
}
