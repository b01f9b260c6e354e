'use client'
import { usePathname, useSearchParams } from 'next/navigation'
import { useCallback } from 'react'

export type Changes = Record<string, string | null | undefined>

/** What the page shows is in its address, so that a reload, a link and the back button keep it. */
export function useUrl() {
  const params = useSearchParams()
  const path = usePathname()
  const set = useCallback(
    (changes: Changes, how: 'push' | 'replace' = 'push') => {
      const search = withChanges(window.location.search, changes)
      // A field says the same by Enter and by being left; going back must not stop in between.
      if (search === window.location.search) return
      // The page is the same file whatever its filters, so the router has nothing to fetch.
      window.history[how === 'push' ? 'pushState' : 'replaceState'](null, '', path + search)
    },
    [path],
  )
  return { get: (name: string) => params.get(name) ?? '', set }
}

/** A search string with some parameters changed; empty ones are left out. */
export function withChanges(search: string, changes: Changes): string {
  const params = new URLSearchParams(search)
  for (const [name, value] of Object.entries(changes)) {
    if (value) params.set(name, value)
    else params.delete(name)
  }
  const text = params.toString()
  return text && `?${text}`
}

/** One of the known values, or the first of them when the address says something else. */
export function oneOf<Value extends string>(known: readonly [Value, ...Value[]], value: string): Value {
  return known.find((each) => each === value) ?? known[0]
}

/** A whole number that counts rows; anything else is the start. */
export function offsetOf(value: string): number {
  return /^\d{1,9}$/.test(value) ? Number(value) : 0
}
