'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import type { Scope } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input } from '@/ui/field'
import { Note } from '@/ui/notice'
import { ExpiryField, instantOf, NEVER } from '../shared/expiry-field'
import { ScopeBoxes } from './scope-boxes'
import { Secret } from './secret'

/** For a user, if one is given; else the dialog asks what the key is bound to. */
export function CreateKey({ userId, onClose }: { userId?: string; onClose: () => void }) {
  const [name, setName] = useState('')
  const [scopes, setScopes] = useState<Scope[]>(['proxy', 'sdk'])
  const [user, setUser] = useState(userId ?? '')
  const [org, setOrg] = useState('')
  const [expiry, setExpiry] = useState(NEVER)
  const create = api.useMutation('post', '/auth/api-keys')
  const admin = scopes.includes('admin')
  if (create.data)
    return <Secret title={`Key ${create.data.name} is made`} secret={create.data.apiKey} onClose={onClose} />
  return (
    <Dialog
      open
      onClose={onClose}
      title={userId ? `New key for ${userId}` : 'New key'}
      description="It is shown a single time, after it is made."
    >
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          const binding = admin ? {} : { userId: user.trim() || undefined, orgId: org.trim() || undefined }
          create.mutate({ body: { name: name.trim(), scopes, expiresAt: instantOf(expiry), ...binding } })
        }}
      >
        <Field label="Name" hint="What it is for, such as production backend.">
          {(ids) => (
            <Input
              {...ids}
              required
              maxLength={100}
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <ScopeBoxes scopes={scopes} onChange={setScopes} without={userId ? 'admin' : undefined} />
        {!userId && (
          <div className="grid grid-cols-2 gap-3">
            <Field
              label="Bound to user"
              hint={admin ? 'An admin key sees all users.' : 'Speaks for this user alone.'}
            >
              {(ids) => (
                <Input
                  {...ids}
                  disabled={admin}
                  value={admin ? '' : user}
                  onChange={(event) => setUser(event.target.value)}
                />
              )}
            </Field>
            <Field label="Bound to org" hint={admin ? undefined : 'Everything counts for it.'}>
              {(ids) => (
                <Input
                  {...ids}
                  disabled={admin}
                  value={admin ? '' : org}
                  onChange={(event) => setOrg(event.target.value)}
                />
              )}
            </Field>
          </div>
        )}
        <ExpiryField label="Expires" never="Valid until it is revoked." value={expiry} onChange={setExpiry} />
        {create.error && <Note tone="bad">{create.error.message}</Note>}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={create.isPending} disabled={scopes.length === 0}>
            Make key
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
