'use client'
import Link from 'next/link'
import { usePathname } from 'next/navigation'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { count } from '@/ui/format'
import { Note } from '@/ui/notice'

/** On every page while somebody is refused, but on the one that says who. */
export function RefusedBanner() {
  const here = usePathname().startsWith('/refusals')
  const refusals = api.useQuery(
    'get',
    '/admin/refusals',
    { params: { query: { limit: 1 } } },
    { refetchInterval: LIVE_MS },
  )
  const refused = refusals.data?.refusedRecently ?? 0
  if (here || refused === 0) return null
  return (
    <div className="mb-5">
      <Note tone="warn">
        <strong className="font-semibold">
          {refused === 1 ? 'One user or key' : `${count(refused)} users or keys`}
        </strong>{' '}
        {refused === 1 ? 'was' : 'were'} refused within the last five minutes.{' '}
        <Link href="/refusals" className="underline underline-offset-2">
          See who, and why
        </Link>
      </Note>
    </div>
  )
}
