'use client'
import { Button } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Dialog, DialogActions } from '@/ui/dialog'
import { Note } from '@/ui/notice'

/** The only time that a key is seen: tokenist keeps its hash alone. */
export function Secret({ title, secret, onClose }: { title: string; secret: string; onClose: () => void }) {
  return (
    <Dialog open onClose={onClose} title={title}>
      <Note tone="warn">Copy the key now. It is not kept, and closing this hides it for good.</Note>
      <div className="mt-3 flex items-start gap-2 rounded-lg border bg-canvas p-2.5">
        <code className="min-w-0 flex-1 select-all break-all py-0.5 font-mono text-xs">{secret}</code>
        <Copy text={secret} label="Copy key" />
      </div>
      <DialogActions>
        <Button look="primary" onClick={onClose}>
          I have copied it
        </Button>
      </DialogActions>
    </Dialog>
  )
}
