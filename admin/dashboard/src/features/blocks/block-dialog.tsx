'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input } from '@/ui/field'
import { Note } from '@/ui/notice'
import { ExpiryField, instantOf, NEVER } from '../shared/expiry-field'

/** Without a user it asks for one. */
export function BlockDialog({ userId, onClose }: { userId?: string; onClose: () => void }) {
  const [id, setId] = useState(userId ?? '')
  const [reason, setReason] = useState('')
  const [expiry, setExpiry] = useState(NEVER)
  const block = api.useMutation('post', '/admin/users/{id}/block', { onSuccess: onClose })
  return (
    <Dialog
      open
      onClose={onClose}
      title={userId ? `Block ${userId}` : 'Block a user'}
      description="Live sessions end at once with close code 4003, and new ones are refused."
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          block.mutate({
            params: { path: { id: id.trim() } },
            body: { reason: reason.trim() || undefined, expiresAt: instantOf(expiry) },
          })
        }}
      >
        {!userId && (
          <Field label="User id">
            {(ids) => <Input {...ids} required value={id} onChange={(event) => setId(event.target.value)} />}
          </Field>
        )}
        <Field label="Reason" hint="The user’s application is told it, and the audit keeps it.">
          {(ids) => (
            <Input
              {...ids}
              maxLength={500}
              value={reason}
              onChange={(event) => setReason(event.target.value)}
            />
          )}
        </Field>
        <ExpiryField
          label="Ends"
          never="Until somebody unblocks the user."
          value={expiry}
          onChange={setExpiry}
        />
        {block.error && <Note tone="bad">{block.error.message}</Note>}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="danger" busy={block.isPending}>
            Block user
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
