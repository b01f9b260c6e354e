'use client'
import { KeyRound } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Select } from '@/ui/field'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { OffsetPager } from '../shared/offset-pager'
import { offsetOf, useUrl } from '../shared/url'
import { CreateKey } from './create-key'
import { KeyTable } from './key-table'

const PAGE = 50

export function KeyList() {
  const { get, set } = useUrl()
  const [creating, setCreating] = useState(false)
  const change = useCan('change')
  const offset = offsetOf(get('offset'))
  const keys = api.useQuery('get', '/auth/api-keys', {
    params: { query: { limit: PAGE, offset, ...(get('ended') && { ended: true }) } },
  })
  return (
    <>
      <PageHeader
        title="Keys"
        note="What applications and machines show instead of a provider’s key. Only a hash is kept."
        fresh={keys}
        actions={
          change && (
            <Button look="primary" onClick={() => setCreating(true)}>
              New key
            </Button>
          )
        }
      />
      <div className="mb-3 flex">
        <Select
          aria-label="Which keys"
          className="w-44!"
          value={get('ended')}
          onChange={(event) => set({ ended: event.target.value, offset: null })}
        >
          <option value="">Valid keys</option>
          <option value="true">Ended ones too</option>
        </Select>
      </div>
      <Card flush>
        <Answer of={keys} loading={<KeyTable keys={undefined} empty={null} />}>
          {(data) => (
            <>
              <KeyTable
                keys={data.keys}
                empty={
                  <Empty icon={KeyRound} title="No keys yet">
                    Applications can pass their provider’s key through. A key of yours lets you take it back.
                  </Empty>
                }
              />
              <OffsetPager
                offset={offset}
                page={PAGE}
                shown={data.keys.length}
                total={data.total}
                noun="keys"
              />
            </>
          )}
        </Answer>
      </Card>
      {creating && <CreateKey onClose={() => setCreating(false)} />}
    </>
  )
}
