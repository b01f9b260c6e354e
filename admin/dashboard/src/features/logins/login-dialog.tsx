'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import type { Login, Role } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Field, Input, Select } from '@/ui/field'
import { Note } from '@/ui/notice'
import { type MadeKeys, tell } from './made-keys'
import { ROLES } from './roles'

export function LoginDialog({
  login,
  onKeys,
  onClose,
}: {
  login?: Login
  onKeys: (keys: MadeKeys) => void
  onClose: () => void
}) {
  const [email, setEmail] = useState(login?.email ?? '')
  const [name, setName] = useState(login?.displayName ?? '')
  const [role, setRole] = useState<Role>(login?.role ?? 'viewer')
  const [password, setPassword] = useState('')
  const create = api.useMutation('post', '/admin/logins', { onSuccess: onClose })
  const change = api.useMutation('patch', '/admin/logins/{id}', {
    onSuccess: (reply) => {
      tell(reply, onKeys)
      onClose()
    },
  })
  const error = create.error ?? change.error
  const save = () => {
    const displayName = name.trim() || undefined
    if (login)
      change.mutate({
        params: { path: { id: login.id } },
        body: { role, displayName, password: password || undefined },
      })
    else create.mutate({ body: { email: email.trim(), password, role, displayName } })
  }
  return (
    <Dialog open onClose={onClose} title={login ? `Edit ${login.email}` : 'New login'}>
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          save()
        }}
      >
        {!login && (
          <Field label="Email">
            {(ids) => (
              <Input
                {...ids}
                type="email"
                required
                value={email}
                onChange={(event) => setEmail(event.target.value)}
              />
            )}
          </Field>
        )}
        <Field label="Name">
          {(ids) => <Input {...ids} value={name} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Field label="Role" hint={ROLES[role].words}>
          {(ids) => (
            <Select {...ids} value={role} onChange={(event) => setRole(event.target.value as Role)}>
              {Object.entries(ROLES).map(([value, { label }]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field
          label={login ? 'New password' : 'Password'}
          hint={login ? 'Empty: stays as it is.' : 'Hand it over by a safe way.'}
        >
          {(ids) => (
            <Input
              {...ids}
              type="password"
              autoComplete="new-password"
              required={!login}
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
          )}
        </Field>
        {error && <Note tone="bad">{error.message}</Note>}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={create.isPending || change.isPending}>
            {login ? 'Save' : 'Make login'}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
