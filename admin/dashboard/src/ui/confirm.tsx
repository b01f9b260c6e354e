'use client'
import type { ReactNode } from 'react'
import { Button } from './button'
import { Dialog, DialogActions } from './dialog'
import { Note } from './notice'

interface Props {
  open: boolean
  onClose: () => void
  title: string
  /** What will happen, and whether it can be undone. */
  children: ReactNode
  verb: string
  busy: boolean
  error?: string
  onConfirm: () => void
}

export function Confirm({ open, onClose, title, children, verb, busy, error, onConfirm }: Props) {
  return (
    <Dialog open={open} onClose={onClose} title={title}>
      <div className="text-ink-2">{children}</div>
      {error && (
        <div className="mt-4">
          <Note tone="bad">{error}</Note>
        </div>
      )}
      <DialogActions>
        <Button onClick={onClose}>Cancel</Button>
        <Button look="danger" busy={busy} onClick={onConfirm}>
          {verb}
        </Button>
      </DialogActions>
    </Dialog>
  )
}
