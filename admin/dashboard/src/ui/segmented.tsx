'use client'
import { useId } from 'react'
import { cx } from './cx'

interface Props<Value extends string> {
  label: string
  value: Value
  options: readonly { value: Value; label: string }[]
  onChange: (value: Value) => void
}

/** A few choices of which one holds: radio buttons, so that arrow keys move between them. */
export function Segmented<Value extends string>({ label, value, options, onChange }: Props<Value>) {
  const name = useId()
  return (
    <fieldset className="flex max-w-full overflow-x-auto rounded-lg border border-line-strong bg-panel p-0.5 shadow-card">
      <legend className="sr-only">{label}</legend>
      {options.map((option) => (
        <label
          key={option.value}
          className={cx(
            'flex h-6.5 grow cursor-pointer select-none items-center justify-center whitespace-nowrap rounded-md px-2.5 text-xs font-medium transition-colors',
            'has-focus-visible:outline-2 has-focus-visible:outline-accent-ink',
            option.value === value
              ? 'bg-sunken text-ink ring-1 ring-inset ring-line'
              : 'text-ink-2 hover:text-ink',
          )}
        >
          <input
            type="radio"
            name={name}
            className="sr-only"
            checked={option.value === value}
            onChange={() => onChange(option.value)}
          />
          {option.label}
        </label>
      ))}
    </fieldset>
  )
}
