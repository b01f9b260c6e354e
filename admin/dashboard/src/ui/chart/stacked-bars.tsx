'use client'
import { Bar, BarChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts'

export interface Group {
  label: string
  colour: string
}
export interface StackPoint {
  label: string
  full: string
  values: number[]
}
export interface StackProps {
  groups: Group[]
  points: StackPoint[]
  format: (n: number) => string
  formatTick: (n: number) => string
  /** What a reader who cannot see the bars is told; the numbers are in the table beside. */
  description: string
}

export function StackedBars({ groups, points, format, formatTick, description }: StackProps) {
  return (
    <div role="img" aria-label={description} className="h-64 w-full">
      <ResponsiveContainer width="100%" height="100%" initialDimension={{ width: 600, height: 256 }}>
        <BarChart
          data={points}
          margin={{ top: 8, right: 4, bottom: 0, left: 0 }}
          barCategoryGap="18%"
          accessibilityLayer={false}
        >
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="label"
            tickLine={false}
            axisLine={false}
            minTickGap={28}
            tick={TICK}
            tickMargin={8}
          />
          <YAxis
            tickFormatter={formatTick}
            tickLine={false}
            axisLine={false}
            width={52}
            tick={TICK}
            tickCount={5}
          />
          <Tooltip
            cursor={{ fill: 'var(--sunken)', opacity: 0.7 }}
            isAnimationActive={false}
            content={({ active, payload }) => {
              const point: StackPoint | undefined = active ? payload[0]?.payload : undefined
              return point ? <Reading point={point} groups={groups} format={format} /> : null
            }}
          />
          {groups.map((group, index) => (
            <Bar
              key={group.label}
              name={group.label}
              dataKey={(point: StackPoint) => point.values[index]}
              stackId="all"
              fill={group.colour}
              maxBarSize={34}
              isAnimationActive={false}
            />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </div>
  )
}

const TICK = { fill: 'var(--ink-3)', fontSize: 11 }

function Reading({
  point,
  groups,
  format,
}: {
  point: StackPoint
  groups: Group[]
  format: (n: number) => string
}) {
  const shown = groups
    .map((group, index) => ({ group, value: point.values[index] ?? 0 }))
    .filter((row) => row.value > 0)
  return (
    <div className="min-w-44 max-w-72 rounded-lg bg-panel p-2.5 text-xs shadow-float">
      <p className="mb-1.5 font-medium">{point.full}</p>
      {shown.length === 0 && <p className="text-ink-3">nothing used</p>}
      {shown.map(({ group, value }) => (
        <p key={group.label} className="flex items-center gap-2 py-px">
          <span aria-hidden className="size-2 shrink-0 rounded-xs" style={{ background: group.colour }} />
          <span className="min-w-0 flex-1 truncate text-ink-2">{group.label}</span>
          <span className="tabular-nums">{format(value)}</span>
        </p>
      ))}
    </div>
  )
}
