import Link from 'next/link'
import { cx } from '@/ui/cx'

const LINK = 'rounded font-medium underline-offset-2 hover:underline'

/** Ids are the customers' own and may be long or odd; they are cut by the eye, never in the address. */
export function UserLink({ id, name, className }: { id: string; name?: string | null; className?: string }) {
  return (
    <span className={cx('block min-w-0', className)}>
      <Link
        href={userHref(id)}
        prefetch={false}
        title={id}
        className={cx(LINK, 'block max-w-40 sm:max-w-64 truncate')}
      >
        {name || id}
      </Link>
      {name && name !== id && (
        <span className="block max-w-40 sm:max-w-64 truncate text-ink-3 text-xs">{id}</span>
      )}
    </span>
  )
}

export function OrgLink({ id }: { id: string | null }) {
  if (!id) return <span className="text-ink-3">none</span>
  return (
    <Link
      href={`/orgs/detail?org=${encodeURIComponent(id)}`}
      prefetch={false}
      title={id}
      className={cx(LINK, 'block max-w-32 sm:max-w-48 truncate font-normal')}
    >
      {id}
    </Link>
  )
}

export const userHref = (id: string) => `/users/detail?user=${encodeURIComponent(id)}`
export const usageHref = (filter: Record<string, string>) => `/usage?${new URLSearchParams(filter)}`
