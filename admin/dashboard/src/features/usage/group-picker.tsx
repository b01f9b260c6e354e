'use client'
import type { By } from '@/api/types'
import { cx } from '@/ui/cx'
import { useUrl } from '../shared/url'
import { DIMENSIONS, toggled } from './usage-query'

export function GroupPicker({ groups }: { groups: By[] }) {
  const { set } = useUrl()
  return (
    <fieldset className="flex flex-wrap items-center gap-1.5">
      <legend className="sr-only">Group by, up to three</legend>
      <span aria-hidden className="mr-0.5 text-ink-3 text-xs">
        Group by
      </span>
      {DIMENSIONS.map((dimension) => {
        const place = groups.indexOf(dimension)
        return (
          <button
            key={dimension}
            type="button"
            aria-pressed={place >= 0}
            onClick={() => set({ by: toggled(groups, dimension).join(','), offset: null })}
            className={cx(
              'h-7 rounded-full border px-2.5 font-medium text-xs capitalize transition-colors',
              place >= 0
                ? 'border-transparent bg-accent-soft text-accent-ink'
                : 'border-line-strong bg-panel text-ink-2 hover:bg-sunken',
            )}
          >
            {dimension}
            {groups.length > 1 && place >= 0 && <span className="ml-1">{place + 1}</span>}
          </button>
        )
      })}
    </fieldset>
  )
}
