'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import type { Price } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input, NumberInput } from '@/ui/field'
import { Note } from '@/ui/notice'
import { fieldsOf, requestOf } from './price-fields'
import { KINDS } from './price-kinds'
import { PriceTrial } from './price-trial'

export function PriceDialog({ price, onClose }: { price?: Price; onClose: () => void }) {
  const [fields, setFields] = useState(() => fieldsOf(price))
  const save = api.useMutation('put', '/admin/prices', { onSuccess: onClose })
  const trial = api.useMutation('put', '/admin/prices')
  const set = (change: Partial<typeof fields>) => {
    setFields({ ...fields, ...change })
    trial.reset()
  }
  const body = requestOf(fields)
  const error = save.error ?? trial.error
  return (
    <Dialog
      open
      onClose={onClose}
      title={price ? `Price of ${price.model}` : 'Set a price'}
      description="US dollars per million tokens. An empty box means no price of its own."
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          save.mutate({ body })
        }}
      >
        <div className="grid grid-cols-2 gap-3">
          <Field label="Model">
            {(ids) => (
              <Input
                {...ids}
                required
                value={fields.model}
                onChange={(event) => set({ model: event.target.value })}
              />
            )}
          </Field>
          <Field label="Provider" hint="Empty: any.">
            {(ids) => (
              <Input
                {...ids}
                value={fields.provider}
                onChange={(event) => set({ provider: event.target.value })}
              />
            )}
          </Field>
          {KINDS.map(({ kind, label }) => (
            <Field key={kind} label={label}>
              {(ids) => (
                <NumberInput
                  {...ids}
                  before="$"
                  step="any"
                  value={fields.perMillion[kind]}
                  onChange={(event) =>
                    set({ perMillion: { ...fields.perMillion, [kind]: event.target.value } })
                  }
                />
              )}
            </Field>
          ))}
          <Field label="Per minute">
            {(ids) => (
              <NumberInput
                {...ids}
                before="$"
                step="any"
                value={fields.perMinute}
                onChange={(event) => set({ perMinute: event.target.value })}
              />
            )}
          </Field>
          <Field label="Holds from" hint="UTC day. Empty: at once.">
            {(ids) => (
              <Input
                {...ids}
                type="date"
                value={fields.effectiveFrom}
                onChange={(event) => set({ effectiveFrom: event.target.value })}
              />
            )}
          </Field>
        </div>
        <Field label="Also called" hint="Other names of the model, with commas.">
          {(ids) => (
            <Input
              {...ids}
              value={fields.aliases}
              onChange={(event) => set({ aliases: event.target.value })}
            />
          )}
        </Field>
        {error && <Note tone="bad">{error.message}</Note>}
        {trial.data && 'costUsdWithIt' in trial.data && <PriceTrial of={trial.data} />}
        <DialogActions>
          <Button
            className="mr-auto"
            busy={trial.isPending}
            disabled={!body.model}
            onClick={() => trial.mutate({ body, params: { query: { dryRun: true } } })}
          >
            Try on last month
          </Button>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={save.isPending}>
            Save price
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
