import { Field, Input, NumberInput, Select } from '@/ui/field'
import { Segmented } from '@/ui/segmented'
import { type WINDOW_LABELS, WINDOWS } from '../shared/period'
import type { LimitFields } from './limit-fields'
import { MODE_SENTENCES } from './limit-words'

const MODES = [
  { value: 'enforce', label: 'Enforce' },
  { value: 'warn', label: 'Warn only' },
] as const

export function LimitInputs({
  fields,
  onChange,
}: {
  fields: LimitFields
  onChange: (fields: LimitFields) => void
}) {
  const set = (change: Partial<LimitFields>) => onChange({ ...fields, ...change })
  return (
    <>
      <div className="grid grid-cols-2 gap-3">
        <Field label="Cost" hint="Empty: no limit. 0 refuses all.">
          {(ids) => (
            <NumberInput
              {...ids}
              before="$"
              unit="USD"
              step="any"
              value={fields.cost}
              onChange={(event) => set({ cost: event.target.value })}
            />
          )}
        </Field>
        <Field label="Tokens" hint="Empty or 0: no limit.">
          {(ids) => (
            <NumberInput
              {...ids}
              unit="tokens"
              step={1}
              value={fields.tokens}
              onChange={(event) => set({ tokens: event.target.value })}
            />
          )}
        </Field>
        <Field label="Summed over">
          {(ids) => (
            <Select
              {...ids}
              value={fields.window}
              onChange={(event) => set({ window: event.target.value as LimitFields['window'] })}
            >
              {WINDOWS.map((window) => (
                <option key={window} value={window}>
                  {WINDOW_NAMES[window]}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Sessions at once">
          {(ids) => (
            <NumberInput
              {...ids}
              step={1}
              value={fields.sessions}
              onChange={(event) => set({ sessions: event.target.value })}
            />
          )}
        </Field>
      </div>
      <Field
        label="Allowed models"
        hint="Separated by commas, a last * for any end. Empty: any. Others end with close code 4003 in either mode."
      >
        {(ids) => (
          <Input
            {...ids}
            placeholder="gpt-realtime, gpt-4o*"
            value={fields.models}
            onChange={(event) => set({ models: event.target.value })}
          />
        )}
      </Field>
      <div className="grid gap-1.5">
        <span className="font-medium">At the limit</span>
        <span className="flex">
          <Segmented
            label="At the limit"
            value={fields.mode}
            options={MODES}
            onChange={(mode) => set({ mode })}
          />
        </span>
        <p className="text-ink-3 text-xs">{MODE_SENTENCES[fields.mode]}</p>
      </div>
      <Field
        label="While Redis cannot be reached"
        hint="Matters only where several instances share their limits."
      >
        {(ids) => (
          <Select
            {...ids}
            value={fields.onRedisDown}
            onChange={(event) => set({ onRedisDown: event.target.value as LimitFields['onRedisDown'] })}
          >
            <option value="local_share">Each instance grants its share</option>
            <option value="allow">Allow</option>
            <option value="refuse">Refuse</option>
          </Select>
        )}
      </Field>
    </>
  )
}

const WINDOW_NAMES: typeof WINDOW_LABELS = {
  daily: 'A day (UTC)',
  monthly: 'A month (UTC)',
  rolling_24h: 'Any 24 hours',
  total: 'All time',
}
