'use client'
import { cx } from '@/ui/cx'
import { LimitCard } from '../limits/limit-card'

export function UserLimit({ id, orgId }: { id: string; orgId: string | null }) {
  return (
    <div className={cx('grid items-stretch gap-5', orgId && 'md:grid-cols-2')}>
      <LimitCard kind="user" id={id} title="Limit of this user" />
      {orgId && <LimitCard kind="org" id={orgId} title="Limit of the org" />}
    </div>
  )
}
