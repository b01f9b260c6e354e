import { CircleAlert } from 'lucide-react'
import type { ComponentType, ReactNode } from 'react'
import { Button } from './button'
import { cx } from './cx'

/** Nothing is here, why, and what to do about it. */
export function Empty({
  icon: Icon,
  title,
  children,
  action,
}: {
  icon?: ComponentType<{ className?: string }>
  title: string
  children?: ReactNode
  action?: ReactNode
}) {
  return (
    <div className="flex flex-col items-center px-6 py-10 text-center">
      {Icon && (
        <span className="mb-3 grid size-10 place-items-center rounded-xl border bg-canvas text-ink-3">
          <Icon className="size-5" />
        </span>
      )}
      <p className="font-medium text-sm">{title}</p>
      {children && <p className="mt-1 max-w-sm text-ink-3">{children}</p>}
      {action && <div className="mt-4">{action}</div>}
    </div>
  )
}

/** A part of the page that could not be loaded, with the way to try again. */
export function Failure({
  message,
  retry,
  className,
}: {
  message: string
  retry?: () => void
  className?: string
}) {
  return (
    <div role="alert" className={cx('flex flex-col items-center px-6 py-12 text-center', className)}>
      <span className="mb-3 grid size-10 place-items-center rounded-xl bg-bad-soft text-bad">
        <CircleAlert className="size-5" aria-hidden />
      </span>
      <p className="font-medium text-sm">This could not be loaded</p>
      <p className="mt-1 max-w-md text-ink-2">{message}</p>
      {retry && (
        <Button className="mt-4" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  )
}

export function Note({
  tone = 'neutral',
  children,
}: {
  tone?: 'neutral' | 'warn' | 'bad' | 'good'
  children: ReactNode
}) {
  return (
    <div
      role={tone === 'bad' ? 'alert' : undefined}
      className={cx('rounded-lg px-3 py-2 text-13', NOTE_TONES[tone])}
    >
      {children}
    </div>
  )
}

const NOTE_TONES = {
  neutral: 'bg-sunken text-ink-2',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
  good: 'bg-good-soft text-good',
}
