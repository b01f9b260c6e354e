'use client'
import { api } from '@/api/client'
import type { LimitKind } from '@/api/types'
import { Dialog } from '@/ui/dialog'
import { Answer } from '@/ui/state'
import { LimitDialog } from './limit-dialog'

/** Asks for what holds now before it can be edited. */
export function HolderDialog({ kind, id, onClose }: { kind: LimitKind; id: string; onClose: () => void }) {
  const holder = api.useQuery(
    'get',
    '/admin/limits/{kind}/{id}',
    { params: { path: { kind, id } } },
    { refetchInterval: false },
  )
  if (holder.data) return <LimitDialog holder={holder.data} onClose={onClose} />
  return (
    <Dialog open onClose={onClose} title={`Limit of ${id}`}>
      <Answer of={holder}>{() => null}</Answer>
    </Dialog>
  )
}
