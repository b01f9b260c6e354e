'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import type { Limit, LimitKind, LimitTrial, LimitUsed } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input, Select } from '@/ui/field'
import { count, usd } from '@/ui/format'
import { Note } from '@/ui/notice'
import { fieldsOf, requestOf } from './limit-fields'
import { LimitInputs } from './limit-inputs'
import { refuses, TrialNote } from './limit-trial'
import { KIND_LABELS, limitWords } from './limit-words'

export interface Holder {
  kind: LimitKind
  id: string
  name?: string | null
  limit: Limit
  isDefault: boolean
  used: LimitUsed
}

interface Props {
  /** Whose limit is edited; without one, the dialog asks. */
  holder?: Holder
  /** What the form begins with, if it is not what holds: an earlier limit, say, that is to be restored. */
  begin?: Limit
  onClose: () => void
}

/** What is about to happen, once the API has told what would come of it. */
interface Step {
  act: 'save' | 'clear'
  trial: LimitTrial
}

/** Mounted while it is open, so that it starts from what holds now. */
export function LimitDialog({ holder, begin, onClose }: Props) {
  const [kind, setKind] = useState<LimitKind>(holder?.kind ?? 'user')
  const [id, setId] = useState(holder?.id ?? '')
  const [fields, setFields] = useState(fieldsOf(begin ?? holder?.limit))
  const [step, setStep] = useState<Step | null>(null)
  const save = api.useMutation('put', '/admin/limits/{kind}/{id}')
  const clear = api.useMutation('delete', '/admin/limits/{kind}/{id}')
  const path = { kind, id: id.trim() }

  const send = (act: Step['act'], dryRun: boolean, then: (answer: object) => void) => {
    const params = { path, query: { dryRun } }
    if (act === 'save') save.mutate({ params, body: requestOf(fields) }, { onSuccess: then })
    else clear.mutate({ params }, { onSuccess: then })
  }
  /** Asks first where somebody would be refused, or cut off. */
  const propose = (act: Step['act']) =>
    send(act, true, (answer) => {
      const trial = answer as LimitTrial
      if (refuses(trial)) setStep({ act, trial })
      else send(act, false, onClose)
    })
  const error = save.error ?? clear.error
  const busy = save.isPending || clear.isPending
  return (
    <Dialog open onClose={onClose} title={titleOf(holder, begin)} description={<Standing of={holder} />}>
      {step ? (
        <div className="grid gap-4">
          <TrialNote trial={step.trial} />
          {error && <Note tone="bad">{error.message}</Note>}
          <DialogActions>
            <Button onClick={() => setStep(null)}>Back</Button>
            <Button look="danger" busy={busy} onClick={() => send(step.act, false, onClose)}>
              {step.trial.sessionsEnded > 0
                ? `Set it and end ${sessionsWords(step.trial.sessionsEnded)}`
                : 'Set it all the same'}
            </Button>
          </DialogActions>
        </div>
      ) : (
        <form
          className="grid gap-4"
          onSubmit={(event) => {
            event.preventDefault()
            propose('save')
          }}
        >
          {!holder && <WhoseLimit kind={kind} onKind={setKind} id={id} onId={setId} />}
          <LimitInputs fields={fields} onChange={setFields} />
          {error && <Note tone="bad">{error.message}</Note>}
          <DialogActions>
            {holder && !holder.isDefault && (
              <Button
                look="quiet"
                className="mr-auto"
                busy={clear.isPending}
                onClick={() => propose('clear')}
              >
                Back to the default
              </Button>
            )}
            <Button onClick={onClose}>Cancel</Button>
            <Button type="submit" look="primary" busy={save.isPending}>
              {begin && holder ? 'Restore limit' : 'Save limit'}
            </Button>
          </DialogActions>
        </form>
      )}
    </Dialog>
  )
}

const sessionsWords = (n: number) => (n === 1 ? 'one live session' : `${count(n)} live sessions`)

function titleOf(holder: Holder | undefined, begin: Limit | undefined): string {
  if (!holder) return 'Set a limit'
  const whose = `${KIND_LABELS[holder.kind].toLowerCase()} ${holder.name ?? holder.id}`
  return begin ? `Restore the limit of ${whose}` : `Limit of ${whose}`
}

function Standing({ of }: { of: Holder | undefined }) {
  if (!of) return 'It holds from the moment it is saved, for live sessions too.'
  const { limit, isDefault, used } = of
  return (
    <>
      Now: {limitWords(limit)}
      {isDefault && ' (the default)'}. Used of it: {usd(used.costUsd)} and {count(used.tokens)} tokens.
    </>
  )
}

function WhoseLimit({
  kind,
  onKind,
  id,
  onId,
}: {
  kind: LimitKind
  onKind: (kind: LimitKind) => void
  id: string
  onId: (id: string) => void
}) {
  return (
    <div className="grid grid-cols-[8rem_minmax(0,1fr)] gap-3">
      <Field label="For a">
        {(ids) => (
          <Select {...ids} value={kind} onChange={(event) => onKind(event.target.value as LimitKind)}>
            {Object.entries(KIND_LABELS).map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <Field label={`${KIND_LABELS[kind]} id`}>
        {(ids) => <Input {...ids} required value={id} onChange={(event) => onId(event.target.value)} />}
      </Field>
    </div>
  )
}
