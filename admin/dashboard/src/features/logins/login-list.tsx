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
  const logins = api.useQuery('get', '/admin/logins')
  const columns = loginColumns(setEdited, setDeleted)
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
        <LoginDialog login={edited === 'new' ? undefined : edited} onClose={() => setEdited(null)} />
      )}
      {deleted && <Remove login={deleted} onClose={() => setDeleted(null)} />}
    </>
  )
}

function Remove({ login, onClose }: { login: Login; onClose: () => void }) {
  const remove = api.useMutation('delete', '/admin/logins/{id}', { onSuccess: onClose })
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
      This person is signed out and can no longer sign in. What they did stays in the audit.
    </Confirm>
  )
}
