import { cx } from './cx'
import { percent as format } from './format'

export function Progress({
  value,
  state,
  label,
}: {
  value: number
  state: 'ok' | 'warned' | 'reached'
  label: string
}) {
  return (
    <span className="flex items-center gap-2.5">
      <span
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.min(100, Math.round(value))}
        aria-valuetext={`${format(value)} used`}
        className="block h-1.5 min-w-14 flex-1 overflow-hidden rounded-full bg-line"
      >
        <span
          className={cx('block h-full rounded-full', FILLS[state])}
          style={{ width: `${Math.min(100, value)}%` }}
        />
      </span>
      <span className="w-12 text-right text-ink-2 text-xs tabular-nums">{format(value)}</span>
    </span>
  )
}

const FILLS = { ok: 'bg-accent', warned: 'bg-warn-fill', reached: 'bg-bad-fill' }
