'use client'
import { useState } from 'react'
import { Input } from '@/ui/field'
import { Segmented } from '@/ui/segmented'
import { spanOf, useSpan, WINDOW_LABELS, WINDOWS } from './period'
import { useUrl } from './url'

const OPTIONS = [
  ...WINDOWS.map((value) => ({ value, label: WINDOW_LABELS[value] })),
  { value: 'range' as const, label: 'Range' },
]

export function PeriodPicker() {
  const { set } = useUrl()
  const span = useSpan()
  const [choosing, setChoosing] = useState(false)
  const range = 'from' in span || choosing
  return (
    <div className="flex flex-wrap items-center gap-2">
      <Segmented
        label="Period"
        value={range ? 'range' : 'period' in span ? span.period : 'monthly'}
        options={OPTIONS}
        onChange={(value) => {
          setChoosing(value === 'range')
          if (value !== 'range')
            set({ period: value === 'monthly' ? null : value, from: null, to: null, offset: null })
        }}
      />
      {range && <RangeInputs key={'from' in span ? `${span.from}${span.to}` : ''} />}
    </div>
  )
}

/** Whole days, both included. The address changes once both make sense together. */
function RangeInputs() {
  const { get, set } = useUrl()
  const [from, setFrom] = useState(get('from'))
  const [to, setTo] = useState(get('to'))
  const choose = (nextFrom: string, nextTo: string) => {
    setFrom(nextFrom)
    setTo(nextTo)
    if ('from' in spanOf('', nextFrom, nextTo))
      set({ from: nextFrom, to: nextTo, period: null, offset: null })
  }
  return (
    <div className="flex items-center gap-1.5 text-ink-3 text-xs">
      <Input
        type="date"
        aria-label="From day, UTC"
        className="w-34!"
        value={from}
        max={to || undefined}
        onChange={(event) => choose(event.target.value, to)}
      />
      to
      <Input
        type="date"
        aria-label="To day, UTC"
        className="w-34!"
        value={to}
        min={from || undefined}
        onChange={(event) => choose(from, event.target.value)}
      />
      UTC
    </div>
  )
}
