// How numbers and times are written. Everything is UTC and en-US, so that two operators read the same.

const whole = new Intl.NumberFormat('en-US')
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 2 })
const cents = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD' })
const compactUsd = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  notation: 'compact',
  maximumFractionDigits: 1,
})
const small = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  minimumFractionDigits: 4,
  maximumFractionDigits: 4,
})
const tiny = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  maximumSignificantDigits: 2,
})
const price = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  minimumFractionDigits: 2,
  maximumFractionDigits: 6,
})
const share = new Intl.NumberFormat('en-US', { style: 'percent', maximumFractionDigits: 1 })

export const count = (n: number) => whole.format(n)
export const countShort = (n: number) => compact.format(n)

/** Cents are enough from a dollar up; below it the first digits that say something are kept. */
export function usd(n: number): string {
  if (n === 0) return '$0.00'
  if (Math.abs(n) >= 1) return cents.format(n)
  return Math.abs(n) >= 0.0001 ? small.format(n) : tiny.format(n)
}
/** For large type: exact while it fits. */
export const usdShort = (n: number) => (Math.abs(n) < 1_000_000 ? usd(n) : compactUsd.format(n))
/** As it was set, with every digit that it has. */
export const usdPrice = (n: number) => price.format(n)
/** For a chart's axis, where every tick has the same size. */
export const usdTick = (n: number) => (n === 0 ? '$0' : n < 1 ? tiny.format(n) : compactUsd.format(n))

export function percent(n: number): string {
  return share.format(n / 100)
}

/** How much more or less than before; null where nothing was before, which no percentage can say. */
export function change(
  now: number,
  before: number,
): { text: string; direction: 'up' | 'down' | 'flat' } | null {
  if (before === 0) return null
  const ratio = now / before - 1
  if (Math.abs(ratio) < 0.0005) return { text: '0%', direction: 'flat' }
  const text = ratio > 9.99 ? '>999%' : share.format(Math.abs(ratio))
  return { text, direction: ratio > 0 ? 'up' : 'down' }
}

const day = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
})
const dayShort = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short' })
const month = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', month: 'short', year: 'numeric' })
const clock = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', hour: '2-digit', minute: '2-digit' })
const clockFull = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
})

type When = string | number | Date
export const date = (at: When) => day.format(new Date(at))
export const time = (at: When) => `${clockFull.format(new Date(at))} UTC`
export const dateTime = (at: When) => `${date(at)}, ${time(at)}`
export const dateMinute = (at: When) => `${dayShort.format(new Date(at))}, ${clock.format(new Date(at))}`

export function point(at: When, grain: 'hour' | 'day' | 'month'): string {
  const when = new Date(at)
  if (grain === 'hour') return clock.format(when)
  return grain === 'day' ? dayShort.format(when) : month.format(when)
}
export function pointFull(at: When, grain: 'hour' | 'day' | 'month'): string {
  return grain === 'hour'
    ? `${date(at)}, ${clock.format(new Date(at))} UTC`
    : grain === 'day'
      ? date(at)
      : point(at, grain)
}

export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`
  if (s < 86_400)
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`
}

/** "3 min ago", "in 2 h": one unit, because the exact time stands in the title beside it. */
export function relative(at: When, now: number): string {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000)
  const size = Math.abs(seconds)
  if (size < 5) return 'just now'
  const [n, unit] =
    size < 60
      ? [size, 's']
      : size < 3600
        ? [size / 60, 'min']
        : size < 86_400
          ? [size / 3600, 'h']
          : [size / 86_400, 'd']
  const words = `${Math.floor(n)} ${unit}`
  return seconds < 0 ? `${words} ago` : `in ${words}`
}
