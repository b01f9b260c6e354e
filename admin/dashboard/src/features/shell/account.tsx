'use client'
import { LogOut } from 'lucide-react'
import { useState } from 'react'
import { signOut } from '@/api/provider'
import { useMe } from '@/api/role'
import type { Role } from '@/api/types'
import { Button } from '@/ui/button'
import { Confirm } from '@/ui/confirm'
import { Menu, MenuItem } from '@/ui/menu'
import { Skeleton } from '@/ui/skeleton'
import { ThemeToggle } from '@/ui/theme'

/** Who is signed in, and as what: nobody should wonder why a button is missing. */
export function Account() {
  const me = useMe().data
  const [leaving, setLeaving] = useState(false)
  const [everywhere, setEverywhere] = useState(false)
  return (
    <div className="flex items-center gap-1 border-t pt-3">
      <div className="min-w-0 flex-1">
        {me ? (
          <Menu
            trigger={
              <button
                type="button"
                className="block w-full cursor-pointer rounded-lg px-2.5 py-0.5 text-left hover:bg-sunken"
              >
                <span className="sr-only">Account: </span>
                <span className="block truncate font-medium" title={me.email ?? undefined}>
                  {me.displayName ?? me.email ?? 'Operator’s token'}
                </span>
                <span className="block text-2xs text-ink-3">{ROLE_LABELS[me.role]}</span>
              </button>
            }
          >
            <MenuItem danger onSelect={() => setEverywhere(true)}>
              Sign out everywhere
            </MenuItem>
          </Menu>
        ) : (
          <Skeleton className="mx-2.5 h-8 w-24" />
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
      {everywhere && <Everywhere isToken={!me?.email} onClose={() => setEverywhere(false)} />}
    </div>
  )
}

function Everywhere({ isToken, onClose }: { isToken: boolean; onClose: () => void }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  return (
    <Confirm
      open
      onClose={onClose}
      title="Sign out everywhere?"
      verb="Sign out everywhere"
      busy={busy}
      error={error}
      onConfirm={async () => {
        setBusy(true)
        try {
          await signOut(true)
        } catch (failure) {
          setError(failure instanceof Error ? failure.message : String(failure))
          setBusy(false)
        }
      }}
    >
      {isToken
        ? 'Every browser that was signed in with the operator’s token has to sign in again, yours included. The token itself stays as it is.'
        : 'Every browser and program that is signed in as you has to sign in again, this one included. Keys stay as they are.'}
    </Confirm>
  )
}

const ROLE_LABELS: Record<Role, string> = {
  owner: 'Owner',
  operator: 'Operator',
  viewer: 'Viewer, reads only',
  member: 'Member, no dashboard',
}
