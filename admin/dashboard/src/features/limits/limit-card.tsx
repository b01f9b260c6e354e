'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { useCan } from '@/api/role'
import type { LimitKind } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { count, dateTime, usd } from '@/ui/format'
import { Progress } from '@/ui/progress'
import { Answer } from '@/ui/state'
import { LimitDialog } from './limit-dialog'
import { limitWords, MODE_SENTENCES, ModeBadge, StateBadge } from './limit-words'

export function LimitCard({ kind, id, title }: { kind: LimitKind; id: string; title: string }) {
  const [editing, setEditing] = useState(false)
  const change = useCan('change')
  const limit = api.useQuery(
    'get',
    '/admin/limits/{kind}/{id}',
    { params: { path: { kind, id } } },
    { refetchInterval: LIVE_MS },
  )
  return (
    <Card
      title={title}
      actions={
        change &&
        limit.data && (
          <Button size="small" onClick={() => setEditing(true)}>
            Edit limit
          </Button>
        )
      }
    >
      <Answer of={limit}>
        {(data) => (
          <div className="grid gap-3">
            <p className="flex flex-wrap items-center gap-2">
              <span className="font-medium text-sm">{limitWords(data.limit)}</span>
              {data.isDefault && <span className="text-ink-3">the default</span>}
            </p>
            {data.percent !== null && (
              <>
                <Progress value={data.percent} state={data.state} label={title} />
                <p className="flex flex-wrap gap-1.5">
                  <ModeBadge mode={data.limit.mode} />
                  <StateBadge state={data.state} mode={data.limit.mode} />
                </p>
                <p className="text-ink-3 text-xs">
                  {usd(data.used.costUsd)} and {count(data.used.tokens)} tokens used.
                  {data.resetsAt && ` Resets ${dateTime(data.resetsAt)}.`} {MODE_SENTENCES[data.limit.mode]}
                </p>
              </>
            )}
            {editing && <LimitDialog holder={data} onClose={() => setEditing(false)} />}
          </div>
        )}
      </Answer>
    </Card>
  )
}
