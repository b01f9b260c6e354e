'use client'
import type { Key } from '@/api/types'
import { Button } from '@/ui/button'
import { Dialog, DialogActions } from '@/ui/dialog'

/** What became of the keys that a login has made, as the API tells it. */
export interface MadeKeys {
  keysEnded?: Key[]
  keysLeft?: Key[]
}

/** Nobody has to be told of no keys. */
export function tell(keys: MadeKeys, show: (keys: MadeKeys) => void) {
  if (keys.keysEnded?.length || keys.keysLeft?.length) show(keys)
}

export function KeysDialog({ keys, onClose }: { keys: MadeKeys; onClose: () => void }) {
  return (
    <Dialog open onClose={onClose} title="Keys of this login">
      <div className="grid gap-4 text-ink-2">
        <Names of={keys.keysEnded} words="These open nothing any more:" />
        <Names
          of={keys.keysLeft}
          words="These are still valid, because applications may be using them. Revoke under Keys what this person should not have:"
        />
      </div>
      <DialogActions>
        <Button look="primary" onClick={onClose}>
          Understood
        </Button>
      </DialogActions>
    </Dialog>
  )
}

function Names({ of, words }: { of?: Key[]; words: string }) {
  if (!of?.length) return null
  return (
    <div>
      <p>{words}</p>
      <ul className="mt-1 max-h-40 list-disc overflow-y-auto pl-5">
        {of.map((key) => (
          <li key={key.id}>
            {key.name} <code className="font-mono text-ink-3 text-xs">{key.keyHint}…</code>
          </li>
        ))}
      </ul>
    </div>
  )
}
