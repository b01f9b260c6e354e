'use client'
import { api } from '@/api/client'
import type { Limit, LimitKind } from '@/api/types'
import { Dialog } from '@/ui/dialog'
import { Answer } from '@/ui/state'
import { LimitDialog } from './limit-dialog'

interface Props {
  kind: LimitKind
  id: string
  /** What of an earlier limit is known, to be restored. */
  restore?: Partial<Limit>
  onClose: () => void
}

/** Asks for what holds now before it can be edited. */
export function HolderDialog({ kind, id, restore, onClose }: Props) {
  const holder = api.useQuery(
    'get',
    '/admin/limits/{kind}/{id}',
    { params: { path: { kind, id } } },
    { refetchInterval: false },
  )
  if (holder.data) {
    const begin = restore && { ...holder.data.limit, maxCostUsd: null, maxTotalTokens: null, ...restore }
    return <LimitDialog holder={holder.data} begin={begin} onClose={onClose} />
  }
  return (
    <Dialog open onClose={onClose} title={`Limit of ${id}`}>
      <Answer of={holder}>{() => null}</Answer>
    </Dialog>
  )
}
