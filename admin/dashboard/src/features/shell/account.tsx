'use client'
import { LogOut } from 'lucide-react'
import { useState } from 'react'
import { signOut } from '@/api/provider'
import { useMe } from '@/api/role'
import type { Role } from '@/api/types'
import { Button } from '@/ui/button'
import { Skeleton } from '@/ui/skeleton'
import { ThemeToggle } from '@/ui/theme'

/** Who is signed in, and as what: nobody should wonder why a button is missing. */
export function Account() {
  const me = useMe().data
  const [leaving, setLeaving] = useState(false)
  return (
    <div className="flex items-center gap-1 border-t pt-3">
      <div className="min-w-0 flex-1 px-2.5">
        {me ? (
          <>
            <p className="truncate font-medium" title={me.email ?? undefined}>
              {me.displayName ?? me.email ?? 'Operator’s token'}
            </p>
            <p className="text-2xs text-ink-3">{ROLE_LABELS[me.role]}</p>
          </>
        ) : (
          <Skeleton className="h-8 w-24" />
        )}
      </div>
      <ThemeToggle />
      <Button
        look="quiet"
        size="icon"
        aria-label="Sign out"
        busy={leaving}
        onClick={() => {
          setLeaving(true)
          signOut()
        }}
      >
        <LogOut className="size-4" aria-hidden />
      </Button>
    </div>
  )
}

const ROLE_LABELS: Record<Role, string> = {
  owner: 'Owner',
  operator: 'Operator',
  viewer: 'Viewer, reads only',
  member: 'Member, no dashboard',
}
