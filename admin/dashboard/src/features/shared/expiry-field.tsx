'use client'
import { Field, Input, Select } from '@/ui/field'
import { dateTime } from '@/ui/format'

const HOUR_MS = 3_600_000
const SPANS = [
  { value: '', label: 'Never' },
  { value: String(HOUR_MS), label: 'In 1 hour' },
  { value: String(24 * HOUR_MS), label: 'In 24 hours' },
  { value: String(7 * 24 * HOUR_MS), label: 'In 7 days' },
  { value: String(30 * 24 * HOUR_MS), label: 'In 30 days' },
  { value: String(365 * 24 * HOUR_MS), label: 'In a year' },
  { value: 'at', label: 'At a time…' },
]

export interface Expiry {
  choice: string
  /** As the browser's box gives it, meant as UTC. */
  at: string
}
export const NEVER: Expiry = { choice: '', at: '' }

/** The instant that a choice means, counted from now; nothing for "never" or a time not given yet. */
export function instantOf({ choice, at }: Expiry, now = Date.now()): string | undefined {
  if (choice === '') return undefined
  if (choice !== 'at') return new Date(now + Number(choice)).toISOString()
  const chosen = Date.parse(`${at}Z`)
  return Number.isNaN(chosen) ? undefined : new Date(chosen).toISOString()
}

export function ExpiryField({
  label,
  never,
  value,
  onChange,
}: {
  label: string
  /** What no expiry means. */
  never: string
  value: Expiry
  onChange: (value: Expiry) => void
}) {
  const instant = instantOf(value)
  return (
    <Field label={label} hint={instant ? dateTime(instant) : never}>
      {(ids) => (
        <div className="grid grid-cols-[minmax(0,1fr)_minmax(0,1.2fr)] gap-2">
          <Select
            {...ids}
            value={value.choice}
            onChange={(event) => onChange({ ...value, choice: event.target.value })}
          >
            {SPANS.map((span) => (
              <option key={span.value} value={span.value}>
                {span.label}
              </option>
            ))}
          </Select>
          {value.choice === 'at' && (
            <Input
              type="datetime-local"
              required
              aria-label="Date and time, UTC"
              value={value.at}
              onChange={(event) => onChange({ ...value, at: event.target.value })}
            />
          )}
        </div>
      )}
    </Field>
  )
}
