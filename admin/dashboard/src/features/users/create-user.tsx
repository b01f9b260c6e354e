'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input } from '@/ui/field'
import { Note } from '@/ui/notice'
import { Secret } from '../keys/secret'

export function CreateUser({ onClose }: { onClose: () => void }) {
  const [userId, setUserId] = useState('')
  const [orgId, setOrgId] = useState('')
  const [name, setName] = useState('')
  const create = api.useMutation('post', '/admin/users')
  if (create.data)
    return (
      <Secret title={`User ${create.data.userId} is made`} secret={create.data.apiKey} onClose={onClose} />
    )
  return (
    <Dialog
      open
      onClose={onClose}
      title="New user"
      description="The user gets a key at once. It is shown a single time."
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          create.mutate({
            body: {
              userId: userId.trim() || undefined,
              orgId: orgId.trim() || undefined,
              name: name.trim() || undefined,
            },
          })
        }}
      >
        <Field label="User id" hint="As your application names the user. Left empty, one is made up.">
          {(ids) => (
            <Input
              {...ids}
              maxLength={256}
              value={userId}
              onChange={(event) => setUserId(event.target.value)}
            />
          )}
        </Field>
        <div className="grid grid-cols-2 gap-3">
          <Field label="Name">
            {(ids) => <Input {...ids} value={name} onChange={(event) => setName(event.target.value)} />}
          </Field>
          <Field label="Org">
            {(ids) => <Input {...ids} value={orgId} onChange={(event) => setOrgId(event.target.value)} />}
          </Field>
        </div>
        {create.error && <Note tone="bad">{create.error.message}</Note>}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={create.isPending}>
            Make user and key
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
