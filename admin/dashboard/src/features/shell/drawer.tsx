'use client'
import * as Dialog from '@radix-ui/react-dialog'
import { Menu, X } from 'lucide-react'
import { useState } from 'react'
import { Button } from '@/ui/button'
import { Logo } from '@/ui/logo'
import { Account } from './account'
import { Nav } from './nav'

/** The sidebar on narrow screens: a bar on top, and the same navigation in a drawer. */
export function Drawer() {
  const [open, setOpen] = useState(false)
  return (
    <header className="sticky top-0 z-30 flex h-13 items-center justify-between border-b bg-canvas/90 px-4 backdrop-blur lg:hidden">
      <Logo />
      <Dialog.Root open={open} onOpenChange={setOpen}>
        <Dialog.Trigger asChild>
          <Button look="quiet" size="icon" aria-label="Open the menu">
            <Menu className="size-5" aria-hidden />
          </Button>
        </Dialog.Trigger>
        <Dialog.Portal>
          <Dialog.Overlay className="fixed inset-0 z-40 animate-[fade_120ms] bg-black/40" />
          <Dialog.Content
            aria-describedby={undefined}
            className="fixed inset-y-0 left-0 z-50 flex w-72 max-w-[85vw] animate-[slide_180ms_ease-out] flex-col bg-canvas px-3 py-4 shadow-float outline-none"
          >
            <Dialog.Title className="sr-only">Menu</Dialog.Title>
            <div className="mb-6 flex items-center justify-between px-2.5">
              <Logo />
              <Dialog.Close asChild>
                <Button look="quiet" size="icon" aria-label="Close the menu">
                  <X className="size-4" aria-hidden />
                </Button>
              </Dialog.Close>
            </div>
            <div className="min-h-0 flex-1 overflow-y-auto">
              <Nav onGo={() => setOpen(false)} />
            </div>
            <Account />
          </Dialog.Content>
        </Dialog.Portal>
      </Dialog.Root>
    </header>
  )
}
