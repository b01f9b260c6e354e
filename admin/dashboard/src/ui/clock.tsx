'use client'
import { useSyncExternalStore } from 'react'
import { dateTime, relative } from './format'

/** The time now, told to all who show it once a second. */
export function useNow(): number {
  return useSyncExternalStore(watch, read, () => 0)
}

let now = Date.now()
const watchers = new Set<() => void>()
let beat: ReturnType<typeof setInterval> | undefined

function watch(tell: () => void) {
  watchers.add(tell)
  beat ??= setInterval(() => {
    now = Date.now()
    for (const each of watchers) each()
  }, 1000)
  return () => {
    watchers.delete(tell)
    if (watchers.size > 0) return
    clearInterval(beat)
    beat = undefined
  }
}
const read = () => now

/** "3 min ago", with the exact time in its title. */
export function Ago({ at }: { at: string | null | undefined }) {
  const current = useNow()
  if (!at) return <span className="text-ink-3">never</span>
  return (
    <time dateTime={at} title={dateTime(at)} className="whitespace-nowrap">
      {relative(at, current)}
    </time>
  )
}
