'use client'
import * as Radix from '@radix-ui/react-dropdown-menu'
import type { ReactNode } from 'react'
import { cx } from './cx'

export function Menu({ trigger, children }: { trigger: ReactNode; children: ReactNode }) {
  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          align="end"
          sideOffset={6}
          className="z-50 min-w-44 animate-[rise_120ms_ease-out] rounded-xl bg-panel p-1 shadow-float"
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

export function MenuItem({
  danger,
  onSelect,
  children,
}: {
  danger?: boolean
  onSelect: () => void
  children: ReactNode
}) {
  return (
    <Radix.Item
      onSelect={onSelect}
      className={cx(
        'flex h-8 cursor-pointer select-none items-center gap-2 rounded-lg px-2.5 outline-none data-[highlighted]:bg-sunken',
        danger && 'text-bad',
      )}
    >
      {children}
    </Radix.Item>
  )
}
