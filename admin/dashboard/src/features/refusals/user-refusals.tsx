'use client'
import Link from 'next/link'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { Answer } from '@/ui/state'
import { RefusalTable } from './refusal-table'

const SHOWN = 10

/** Nothing is shown of one who was never refused. */
export function UserRefusals({ id }: { id: string }) {
  const refusals = api.useQuery(
    'get',
    '/admin/refusals',
    { params: { query: { user: id, limit: SHOWN } } },
    { refetchInterval: LIVE_MS },
  )
  if (refusals.data?.refusals.length === 0) return null
  return (
    <Card
      title="Refusals"
      note={`The latest ${SHOWN}`}
      flush
      actions={
        <Link href={`/refusals?user=${encodeURIComponent(id)}`} className={buttonClass('quiet', 'small')}>
          All of them
        </Link>
      }
    >
      <Answer of={refusals}>
        {(data) => <RefusalTable label="Refusals of this user" rows={data.refusals} withUser={false} />}
      </Answer>
    </Card>
  )
}
