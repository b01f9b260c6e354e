'use client'
import type { ReactNode } from 'react'
import { ApiError } from '@/api/error'
import { useLive } from '@/api/live'
import { mayRead, useMe } from '@/api/role'
import { Logo } from '@/ui/logo'
import { Empty } from '@/ui/notice'
import { RefusedBanner } from '../refusals/refused-banner'
import { Account } from './account'
import { Drawer } from './drawer'
import { Nav } from './nav'

export function Shell({ children }: { children: ReactNode }) {
  const me = useMe()
  useLive(me.data !== undefined && mayRead(me.data.role))
  const away = me.error instanceof ApiError && me.error.status === 401
  return (
    <>
      <a
        href="#main"
        className="-top-12 fixed left-3 z-50 rounded-lg bg-accent px-3 py-2 font-medium text-on-accent transition-[top] focus:top-3"
      >
        Skip to the content
      </a>
      <div className="lg:grid lg:grid-cols-[14.5rem_minmax(0,1fr)]">
        <aside aria-label="Sidebar" className="sticky top-0 hidden h-dvh flex-col border-r px-3 py-4 lg:flex">
          <div className="mb-6 px-2.5">
            <Logo />
          </div>
          <div className="min-h-0 flex-1 overflow-y-auto">
            <Nav />
          </div>
          <Account />
        </aside>
        <Drawer />
        <main
          id="main"
          tabIndex={-1}
          className="mx-auto w-full max-w-[84rem] px-4 py-6 outline-none sm:px-7 lg:px-9 lg:py-8"
        >
          {!away && (me.data && !mayRead(me.data.role) ? <NotForMembers /> : <Page>{children}</Page>)}
        </main>
      </div>
    </>
  )
}

function Page({ children }: { children: ReactNode }) {
  return (
    <>
      <RefusedBanner />
      {children}
    </>
  )
}

function NotForMembers() {
  return (
    <Empty title="This account has no access to the dashboard">
      Members see their own keys and usage through the API. An owner can give this login another role.
    </Empty>
  )
}
