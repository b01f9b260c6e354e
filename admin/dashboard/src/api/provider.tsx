'use client'
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { client } from './client'
import { ApiError } from './error'

/** Beats of the pages' refreshing. The API caches nothing, so these are what a page costs it. */
export const LIVE_MS = 5_000
export const CALM_MS = 15_000

export function ApiProvider({ children }: { children: ReactNode }) {
  const [queries] = useState(newClient)
  return <QueryClientProvider client={queries}>{children}</QueryClientProvider>
}

function newClient() {
  const queries: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError: signInAgain }),
    // Whatever was changed, every list and sum on the page may have changed with it.
    mutationCache: new MutationCache({ onError: signInAgain, onSuccess: () => queries.invalidateQueries() }),
    defaultOptions: {
      queries: {
        refetchInterval: CALM_MS,
        refetchOnWindowFocus: 'always',
        staleTime: 2_000,
        retry: (failures, error) => failures < 2 && !isRefusal(error),
        placeholderData: (before: unknown) => before,
      },
    },
  })
  return queries
}

function isRefusal(error: unknown) {
  return error instanceof ApiError && error.status >= 400 && error.status < 500
}

let isLeaving = false

/**
 * Whatever is asked meanwhile is refused, which leads nowhere else. From this browser one gets away in any case; that all
 * sessions are over is said only where it is so.
 */
export async function signOut(everywhere = false) {
  isLeaving = true
  try {
    await client.POST('/auth/logout', { body: { everywhere } })
  } catch (error) {
    if (everywhere) {
      isLeaving = false
      throw error
    }
  }
  window.location.assign('/signin')
}

function signInAgain(error: unknown) {
  if (isLeaving || !(error instanceof ApiError) || error.status !== 401) return
  const { pathname, search } = window.location
  if (pathname.startsWith('/signin')) return
  window.location.assign(`/signin?next=${encodeURIComponent(pathname + search)}`)
}
