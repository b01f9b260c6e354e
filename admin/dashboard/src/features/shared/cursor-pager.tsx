'use client'
import { ChevronRight, ChevronsLeft } from 'lucide-react'
import { Button } from '@/ui/button'
import { useUrl } from './url'

/** Steps through a list that the API hands out by cursor: onward, or to the start. The back button goes back. */
export function CursorPager({ next, text }: { next: string | null; text: string }) {
  const { get, set } = useUrl()
  const started = get('cursor') !== ''
  return (
    <nav aria-label="Pages" className="flex items-center justify-between gap-3 border-t px-4 py-2 sm:px-5">
      <p className="text-ink-3 text-xs tabular-nums">{text}</p>
      {(started || next) && (
        <div className="flex gap-2">
          <Button size="small" disabled={!started} onClick={() => set({ cursor: null })}>
            <ChevronsLeft aria-hidden className="size-3.5" /> First
          </Button>
          <Button size="small" disabled={!next} onClick={() => set({ cursor: next })}>
            Next <ChevronRight aria-hidden className="size-3.5" />
          </Button>
        </div>
      )}
    </nav>
  )
}
