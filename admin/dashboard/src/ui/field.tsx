import type { InputHTMLAttributes, ReactNode, SelectHTMLAttributes } from 'react'
import { useId } from 'react'
import { cx } from './cx'

const BOX =
  'h-8 w-full min-w-0 rounded-lg border border-line-strong bg-panel px-2.5 text-13 text-ink shadow-card transition-colors placeholder:text-ink-3 disabled:bg-sunken'

/** A label, its control and a hint, tied together for those who cannot see that they belong together. */
export function Field({
  label,
  hint,
  children,
}: {
  label: string
  hint?: ReactNode
  children: (ids: { id: string; 'aria-describedby'?: string }) => ReactNode
}) {
  const id = useId()
  return (
    <div className="grid content-start gap-1.5">
      <label htmlFor={id} className="font-medium text-13">
        {label}
      </label>
      {children({ id, 'aria-describedby': hint ? `${id}-hint` : undefined })}
      {hint && (
        <p id={`${id}-hint`} className="text-ink-3 text-xs">
          {hint}
        </p>
      )}
    </div>
  )
}

export function Input({ className, ...rest }: InputHTMLAttributes<HTMLInputElement>) {
  return <input autoComplete="off" spellCheck={false} {...rest} className={cx(BOX, className)} />
}

export function Select({ className, children, ...rest }: SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <select {...rest} className={cx(BOX, 'select-arrow appearance-none pr-8', className)}>
      {children}
    </select>
  )
}

/** A number with its unit inside the box. Empty means "none", which is not 0. */
export function NumberInput({
  unit,
  before,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { unit?: string; before?: string }) {
  return (
    <span className="relative block">
      {before && (
        <span aria-hidden className="absolute inset-y-0 left-2.5 flex items-center text-ink-3">
          {before}
        </span>
      )}
      <Input
        inputMode="decimal"
        type="number"
        min={0}
        {...rest}
        className={cx('tabular-nums', before && 'pl-6', unit && 'pr-16')}
      />
      {unit && (
        <span aria-hidden className="absolute inset-y-0 right-3 flex items-center text-ink-3 text-xs">
          {unit}
        </span>
      )}
    </span>
  )
}
