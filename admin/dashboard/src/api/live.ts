'use client'
import { type QueryKey, useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import type { Paths } from './client'

type Path = keyof Paths
const LIMITS: Path[] = ['/admin/limits', '/admin/limits/{kind}/{id}']
const BLOCKS: Path[] = ['/admin/blocked', '/admin/users', '/admin/users/{id}/usage']
const SESSIONS: Path[] = ['/admin/sessions', '/admin/sessions/past']

/** What an event of the stream makes out of date. */
const STALE: Record<string, Path[]> = {
  'session.opened': ['/admin/sessions'],
  'session.closed': SESSIONS,
  'limit.warned': LIMITS,
  'limit.reached': LIMITS,
  'user.blocked': BLOCKS,
  'user.unblocked': BLOCKS,
  lost: [...SESSIONS, ...LIMITS, ...BLOCKS],
}
/** However much happens, a query is asked again no more often. */
const PAUSE_MS = 1000

/**
 * Asks again at once for what has just changed. Only while the page is seen: a browser has few connections to one
 * origin, and each stream takes one.
 */
export function useLive(signedIn: boolean) {
  const queries = useQueryClient()
  useEffect(() => {
    if (!signedIn) return
    let source: EventSource | null = null
    let timer: ReturnType<typeof setTimeout> | undefined
    const stale = new Set<unknown>()
    const refetch = () => {
      timer = undefined
      const isStale = ({ queryKey }: { queryKey: QueryKey }) => stale.has(queryKey[1])
      queries.invalidateQueries({ predicate: isStale })
      stale.clear()
    }
    const follow = () => {
      source?.close()
      source = document.visibilityState === 'visible' ? new EventSource('/admin/stream') : null
      for (const [name, paths] of Object.entries(STALE))
        source?.addEventListener(name, () => {
          for (const path of paths) stale.add(path)
          timer ??= setTimeout(refetch, PAUSE_MS)
        })
    }
    follow()
    document.addEventListener('visibilitychange', follow)
    return () => {
      document.removeEventListener('visibilitychange', follow)
      source?.close()
      clearTimeout(timer)
    }
  }, [queries, signedIn])
}
