import type { PriceTrial as Trial } from '@/api/types'
import { usd } from '@/ui/format'

/** What last month would have cost. Nothing is changed by it. */
export function PriceTrial({ of }: { of: Trial }) {
  return (
    <section aria-live="polite" aria-label="Trial on last month" className="rounded-lg border bg-canvas p-3">
      <p>
        {of.periodLabel} cost <strong className="font-semibold tabular-nums">{usd(of.costUsd)}</strong>; with
        this price it would have cost{' '}
        <strong className="font-semibold tabular-nums">{usd(of.costUsdWithIt)}</strong>.
      </p>
      <ul className="mt-2 grid gap-1 text-xs">
        {of.models.map((each) => (
          <li key={`${each.provider} ${each.model}`} className="flex justify-between gap-3 tabular-nums">
            <span className="truncate text-ink-2">{each.model}</span>
            <span className="whitespace-nowrap">
              {usd(each.costUsd)} → {usd(each.costUsdWithIt)}
            </span>
          </li>
        ))}
        {of.models.length === 0 && <li className="text-ink-3">No usage of last month is touched by it.</li>}
      </ul>
    </section>
  )
}
