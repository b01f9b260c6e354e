import type { ReactNode } from 'react'
import { useId } from 'react'
import { cx } from './cx'

interface Props {
  title?: string
  note?: ReactNode
  actions?: ReactNode
  /** Tables and lists run to the card's edge. */
  flush?: boolean
  className?: string
  children: ReactNode
}

export function Card({ title, note, actions, flush, className, children }: Props) {
  const id = useId()
  return (
    <section
      aria-labelledby={title ? id : undefined}
      className={cx('min-w-0 rounded-xl border bg-panel shadow-card', className)}
    >
      {title && (
        <header className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 px-4 pt-3.5 pb-3 sm:px-5">
          <div className="min-w-0">
            <h2 id={id} className="font-semibold text-sm">
              {title}
            </h2>
            {note && <p className="text-ink-3 text-xs">{note}</p>}
          </div>
          {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
        </header>
      )}
      <div
        className={cx(
          !flush && (title ? 'px-4 pb-4 sm:px-5 sm:pb-5' : 'p-4 sm:p-5'),
          flush && title && 'border-t',
        )}
      >
        {children}
      </div>
    </section>
  )
}
