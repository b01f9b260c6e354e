'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { Field, Input } from '@/ui/field'
import { Note } from '@/ui/notice'
import { goOn } from './next'

export function TokenForm() {
  const [token, setToken] = useState('')
  const signIn = api.useMutation('post', '/auth/session', { onSuccess: goOn })
  return (
    <form
      className="grid gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        signIn.mutate({ body: { token: token.trim() } })
      }}
    >
      <Field
        label="Token"
        hint="The value of admin.token, or what the server printed when it started. It is exchanged for a session cookie and not kept in the browser."
      >
        {(ids) => (
          <Input
            {...ids}
            type="password"
            autoComplete="off"
            required
            className="font-mono"
            placeholder="ug_…"
            value={token}
            onChange={(event) => setToken(event.target.value)}
          />
        )}
      </Field>
      {signIn.error && <Note tone="bad">{signIn.error.message}</Note>}
      <Button type="submit" look="primary" busy={signIn.isPending || signIn.isSuccess}>
        Sign in
      </Button>
    </form>
  )
}
