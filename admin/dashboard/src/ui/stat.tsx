import { ArrowDownRight, ArrowUpRight } from 'lucide-react'
import type { ReactNode } from 'react'
import { Skeleton } from './skeleton'

interface Change {
  text: string
  direction: 'up' | 'down' | 'flat'
}
interface Props {
  label: string
  value?: string
  title?: string
  change?: Change | null
  note?: ReactNode
}

export function Stats({ children }: { children: ReactNode }) {
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-xl border bg-line shadow-card lg:grid-cols-4">
      {children}
    </dl>
  )
}

export function Stat({ label, value, title, change, note }: Props) {
  return (
    <div className="min-w-0 bg-panel px-4 py-4 sm:px-5">
      <dt className="text-ink-2">{label}</dt>
      <dd className="mt-1.5 font-semibold text-xl tabular-nums tracking-tight sm:text-2xl" title={title}>
        {value ?? <Skeleton className="my-1 h-6 w-24" />}
      </dd>
      <dd className="mt-1 flex min-h-4 flex-wrap items-center gap-x-1.5 text-ink-3 text-xs">
        {change && <ChangeSign {...change} />}
        {note}
      </dd>
    </div>
  )
}

// More use is neither good nor bad here, so the sign has no colour of praise or alarm.
function ChangeSign({ text, direction }: Change) {
  if (direction === 'flat') return <span className="font-medium text-ink-2">unchanged</span>
  const Arrow = direction === 'up' ? ArrowUpRight : ArrowDownRight
  return (
    <span className="inline-flex items-center font-medium text-ink-2 tabular-nums">
      <Arrow aria-hidden className="size-3.5" />
      <span className="sr-only">{direction}</span>
      {text}
    </span>
  )
}
