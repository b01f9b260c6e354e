'use client'
import { count } from '@/ui/format'
import { Pager } from '@/ui/pager'
import { useUrl } from './url'

/** Steps through a list whose place is `offset` in the address. */
export function OffsetPager({
  offset,
  page,
  shown,
  total,
  noun,
}: {
  offset: number
  page: number
  shown: number
  total: number
  noun: string
}) {
  const { set } = useUrl()
  const go = (to: number) => set({ offset: to > 0 ? String(to) : null })
  const last = offset + shown
  return (
    <Pager
      text={total === 0 ? `No ${noun}` : `${count(offset + 1)} to ${count(last)} of ${count(total)} ${noun}`}
      onPrevious={offset > 0 ? () => go(Math.max(0, offset - page)) : undefined}
      onNext={last < total ? () => go(last) : undefined}
    />
  )
}
