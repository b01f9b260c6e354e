'use client'
import { type ReactNode, useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { Key } from '@/api/types'
import { Confirm } from '@/ui/confirm'
import { Table } from '@/ui/table'
import { keyColumns } from './key-columns'
import { RotateDialog } from './rotate-dialog'

export function KeyTable({
  keys,
  bound = true,
  empty,
}: {
  keys: Key[] | undefined
  bound?: boolean
  empty: ReactNode
}) {
  const [revoked, revoke] = useState<Key | null>(null)
  const [rotated, rotate] = useState<Key | null>(null)
  const change = useCan('change')
  return (
    <>
      <Table
        label={bound ? 'Keys' : 'Keys of this user'}
        columns={keyColumns(change ? { revoke, rotate } : null, bound)}
        rows={keys}
        rowId={(row) => row.id}
        empty={empty}
      />
      {revoked && <Revoke of={revoked} onClose={() => revoke(null)} />}
      {rotated?.userId && <RotateDialog userId={rotated.userId} onClose={() => rotate(null)} />}
    </>
  )
}

function Revoke({ of, onClose }: { of: Key; onClose: () => void }) {
  const revoke = api.useMutation('delete', '/auth/api-keys/{id}', { onSuccess: onClose })
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Revoke ${of.name}?`}
      verb="Revoke key"
      busy={revoke.isPending}
      error={revoke.error?.message}
      onConfirm={() => revoke.mutate({ params: { path: { id: of.id } } })}
    >
      What uses <code className="font-mono text-xs">{of.keyHint}…</code> is refused from now on, and its live
      sessions close with code 4001. This cannot be undone.
    </Confirm>
  )
}
