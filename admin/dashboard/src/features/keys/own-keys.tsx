'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { CreateKey } from './create-key'
import { KeyTable } from './key-table'

/** The keys that speak for one user. */
export function OwnKeys({ userId }: { userId: string }) {
  const [creating, setCreating] = useState(false)
  const change = useCan('change')
  const keys = api.useQuery('get', '/auth/api-keys', { params: { query: { userId } } })
  return (
    <Card
      title="Keys"
      note="Bound to this user"
      flush
      actions={
        change && (
          <Button size="small" onClick={() => setCreating(true)}>
            New key
          </Button>
        )
      }
    >
      <Answer of={keys}>
        {(data) => (
          <KeyTable
            keys={data.keys}
            bound={false}
            empty={
              <Empty title="No keys of their own">
                This user is named by your application, or by a key made here.
              </Empty>
            }
          />
        )}
      </Answer>
      {creating && <CreateKey userId={userId} onClose={() => setCreating(false)} />}
    </Card>
  )
}
