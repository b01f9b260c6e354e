'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Select } from '@/ui/field'
import { Note } from '@/ui/notice'
import { Secret } from './secret'

const GRACES = [
  { value: '0', label: 'At once' },
  { value: '900', label: 'In 15 minutes' },
  { value: '3600', label: 'In 1 hour' },
  { value: '86400', label: 'In 24 hours' },
]

export function RotateDialog({ userId, onClose }: { userId: string; onClose: () => void }) {
  const [grace, setGrace] = useState('3600')
  const rotate = api.useMutation('post', '/admin/users/{id}/rotate-key')
  if (rotate.data) return <Secret title="The new key" secret={rotate.data.apiKey} onClose={onClose} />
  return (
    <Dialog
      open
      onClose={onClose}
      title="Rotate the key"
      description={`${userId} gets a new key like the newest one.`}
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          rotate.mutate({ params: { path: { id: userId } }, body: { graceSeconds: Number(grace) } })
        }}
      >
        <Field label="Older keys end" hint="A grace leaves time to bring the new key to the application.">
          {(ids) => (
            <Select {...ids} value={grace} onChange={(event) => setGrace(event.target.value)}>
              {GRACES.map((each) => (
                <option key={each.value} value={each.value}>
                  {each.label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        {rotate.error && <Note tone="bad">{rotate.error.message}</Note>}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={rotate.isPending}>
            Rotate key
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
