'use client'
import * as Radix from '@radix-ui/react-dialog'
import { X } from 'lucide-react'
import type { ReactNode } from 'react'
import { Button } from './button'

interface Props {
  open: boolean
  onClose: () => void
  title: string
  description?: ReactNode
  children: ReactNode
}

export function Dialog({ open, onClose, title, description, children }: Props) {
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 animate-[fade_120ms] bg-black/40 backdrop-blur-[1px]" />
        <Radix.Content
          {...(!description && { 'aria-describedby': undefined })}
          className="fixed top-[50%] left-[50%] z-50 max-h-[92dvh] w-[min(30rem,calc(100vw-1.5rem))] translate-x-[-50%] translate-y-[-50%] animate-[fade_140ms_ease-out] overflow-y-auto rounded-2xl bg-panel p-5 shadow-float outline-none sm:p-6"
        >
          <Radix.Title className="pr-8 font-semibold text-base">{title}</Radix.Title>
          {description && <Radix.Description className="mt-1 text-ink-2">{description}</Radix.Description>}
          <div className="mt-4">{children}</div>
          <Radix.Close asChild>
            <Button look="quiet" size="icon" aria-label="Close" className="absolute top-4 right-4">
              <X className="size-4" />
            </Button>
          </Radix.Close>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

export function DialogActions({ children }: { children: ReactNode }) {
  return (
    <div className="-mx-5 -mb-5 sm:-mx-6 sm:-mb-6 sticky -bottom-5 mt-2 flex flex-wrap justify-end gap-2 rounded-b-2xl bg-panel px-5 pt-4 pb-5 sm:-bottom-6 sm:px-6 sm:pb-6">
      {children}
    </div>
  )
}
