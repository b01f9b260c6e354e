import { cx } from './cx'

export function Skeleton({ className }: { className?: string }) {
  return <span aria-hidden className={cx('block animate-pulse rounded-md bg-sunken', className)} />
}

export function Loading({ label = 'Loading', className }: { label?: string; className?: string }) {
  return (
    <div role="status" className={className}>
      <span className="sr-only">{label}…</span>
      <Skeleton className="size-full" />
    </div>
  )
}
