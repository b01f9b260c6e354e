import type { ButtonHTMLAttributes } from 'react'
import { cx } from './cx'

type Look = 'primary' | 'plain' | 'quiet' | 'danger'
interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: Look
  size?: 'small' | 'normal' | 'icon'
  busy?: boolean
}

export function Button({ look = 'plain', size = 'normal', busy, className, disabled, ...rest }: Props) {
  return (
    <button
      type="button"
      {...rest}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
      className={cx(buttonClass(look, size), busy && 'opacity-70', className)}
    />
  )
}

/** For links that look like buttons. */
export function buttonClass(look: Look = 'plain', size: Props['size'] = 'normal') {
  return cx(
    'inline-flex shrink-0 select-none items-center justify-center gap-1.5 whitespace-nowrap rounded-lg font-medium transition-colors disabled:opacity-55',
    size === 'icon' ? 'size-8' : size === 'small' ? 'h-7 px-2.5 text-xs' : 'h-8 px-3',
    LOOKS[look],
  )
}

const LOOKS: Record<Look, string> = {
  primary: 'bg-accent text-on-accent shadow-card enabled:hover:bg-accent-hover',
  plain: 'border border-line-strong bg-panel text-ink shadow-card enabled:hover:bg-sunken',
  quiet: 'text-ink-2 enabled:hover:bg-sunken enabled:hover:text-ink',
  danger:
    'border border-line-strong bg-panel text-bad shadow-card enabled:hover:border-bad-fill enabled:hover:bg-bad-soft',
}
