'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import type { Limit, LimitKind } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input, Select } from '@/ui/field'
import { Note } from '@/ui/notice'
import { fieldsOf, requestOf } from './limit-fields'
import { LimitInputs } from './limit-inputs'
import { KIND_LABELS, limitWords } from './limit-words'

export interface Holder {
  kind: LimitKind
  id: string
  name?: string | null
  limit: Limit
  isDefault: boolean
}

interface Props {
  /** Whose limit is edited; without one, the dialog asks. */
  holder?: Holder
  fallback?: Limit
  onClose: () => void
}

/** Mounted while it is open, so that it starts from what holds now. */
export function LimitDialog({ holder, fallback, onClose }: Props) {
  const [kind, setKind] = useState<LimitKind>(holder?.kind ?? 'user')
  const [id, setId] = useState(holder?.id ?? '')
  const [fields, setFields] = useState(fieldsOf(holder?.limit ?? fallback))
  const save = api.useMutation('put', '/admin/limits/{kind}/{id}', { onSuccess: onClose })
  const clear = api.useMutation('delete', '/admin/limits/{kind}/{id}', { onSuccess: onClose })
  const path = { kind, id: id.trim() }
  const error = save.error ?? clear.error
  return (
    <Dialog
      open
      onClose={onClose}
      title={
        holder
          ? `Limit of ${KIND_LABELS[holder.kind].toLowerCase()} ${holder.name ?? holder.id}`
          : 'Set a limit'
      }
      description={
        holder
          ? `Now: ${limitWords(holder.limit)}${holder.isDefault ? ' (the default)' : ''}.`
          : 'It holds from the moment it is saved, for live sessions too.'
      }
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          save.mutate({ params: { path }, body: requestOf(fields) })
        }}
      >
        {!holder && (
          <div className="grid grid-cols-[8rem_minmax(0,1fr)] gap-3">
            <Field label="For a">
              {(ids) => (
                <Select {...ids} value={kind} onChange={(event) => setKind(event.target.value as LimitKind)}>
                  {Object.entries(KIND_LABELS).map(([value, label]) => (
                    <option key={value} value={value}>
                      {label}
                    </option>
                  ))}
                </Select>
              )}
            </Field>
            <Field label={`${KIND_LABELS[kind]} id`}>
              {(ids) => (
                <Input {...ids} required value={id} onChange={(event) => setId(event.target.value)} />
              )}
            </Field>
          </div>
        )}
        <LimitInputs fields={fields} onChange={setFields} />
        {error && <Note tone="bad">{error.message}</Note>}
        <DialogActions>
          {holder && !holder.isDefault && (
            <Button
              look="quiet"
              className="mr-auto"
              busy={clear.isPending}
              onClick={() => clear.mutate({ params: { path } })}
            >
              Back to the default
            </Button>
          )}
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={save.isPending}>
            Save limit
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
