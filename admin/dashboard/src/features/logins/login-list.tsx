'use client'
import { UserRoundCog } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan, useMe } from '@/api/role'
import type { Login } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Confirm } from '@/ui/confirm'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { loginColumns } from './login-columns'
import { LoginDialog } from './login-dialog'
import { KeysDialog, type MadeKeys, tell } from './made-keys'

export function LoginList() {
  const own = useCan('own')
  const me = useMe()
  if (me.data && !own)
    return (
      <Empty icon={UserRoundCog} title="Only owners manage logins">
        Ask an owner to add or change one.
      </Empty>
    )
  return <Logins />
}

function Logins() {
  const [edited, setEdited] = useState<Login | 'new' | null>(null)
  const [deleted, setDeleted] = useState<Login | null>(null)
  const [signedOut, setSignedOut] = useState<Login | null>(null)
  const [keys, setKeys] = useState<MadeKeys | null>(null)
  const logins = api.useQuery('get', '/admin/logins')
  const columns = loginColumns({ edit: setEdited, signOut: setSignedOut, remove: setDeleted })
  return (
    <>
      <PageHeader
        title="Logins"
        note="People who may open this dashboard. Every change they make is in the audit."
        fresh={logins}
        actions={
          <Button look="primary" onClick={() => setEdited('new')}>
            New login
          </Button>
        }
      />
      <Card flush>
        <Answer
          of={logins}
          loading={<Table label="Logins" columns={columns} rows={undefined} rowId={String} />}
        >
          {(data) => (
            <Table
              label="Logins"
              columns={columns}
              rows={data.logins}
              rowId={(row) => row.id}
              empty={
                <Empty icon={UserRoundCog} title="No logins yet">
                  You came with the operator’s token. Give each person a login, so that the audit knows who
                  did what.
                </Empty>
              }
            />
          )}
        </Answer>
      </Card>
      {edited && (
        <LoginDialog
          login={edited === 'new' ? undefined : edited}
          onKeys={setKeys}
          onClose={() => setEdited(null)}
        />
      )}
      {signedOut && <EndSessions login={signedOut} onClose={() => setSignedOut(null)} />}
      {deleted && <Remove login={deleted} onKeys={setKeys} onClose={() => setDeleted(null)} />}
      {keys && <KeysDialog keys={keys} onClose={() => setKeys(null)} />}
    </>
  )
}

function EndSessions({ login, onClose }: { login: Login; onClose: () => void }) {
  const end = api.useMutation('delete', '/admin/logins/{id}/sessions', { onSuccess: onClose })
  return (
    <Confirm
      open
      onClose={onClose}
      title={`End all sessions of ${login.email}?`}
      verb="Sign them out"
      busy={end.isPending}
      error={end.error?.message}
      onConfirm={() => end.mutate({ params: { path: { id: login.id } } })}
    >
      This person is signed out everywhere and may sign in again. If somebody else may know the password, set
      a new one instead.
    </Confirm>
  )
}

function Remove({
  login,
  onKeys,
  onClose,
}: {
  login: Login
  onKeys: (keys: MadeKeys) => void
  onClose: () => void
}) {
  const remove = api.useMutation('delete', '/admin/logins/{id}', {
    onSuccess: (reply) => {
      tell(reply, onKeys)
      onClose()
    },
  })
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Remove ${login.email}?`}
      verb="Remove login"
      busy={remove.isPending}
      error={remove.error?.message}
      onConfirm={() => remove.mutate({ params: { path: { id: login.id } } })}
    >
      This person is signed out and can no longer sign in, and keys with the admin scope that they made end.
      What they did stays in the audit.
    </Confirm>
  )
}
