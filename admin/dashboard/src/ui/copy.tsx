'use client'
import { Check, Copy as CopyIcon } from 'lucide-react'
import { useState } from 'react'
import { Button } from './button'

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [state, setState] = useState<'idle' | 'done' | 'failed'>('idle')
  const copy = async () => {
    // Browsers allow this on localhost and over HTTPS alone; the text stays selectable beside the button.
    const outcome = await navigator.clipboard?.writeText(text).then(
      () => 'done' as const,
      () => 'failed' as const,
    )
    setState(outcome ?? 'failed')
    setTimeout(() => setState('idle'), 2000)
  }
  return (
    <Button size="small" onClick={copy}>
      {state === 'done' ? (
        <Check className="size-3.5 text-good" aria-hidden />
      ) : (
        <CopyIcon className="size-3.5" aria-hidden />
      )}
      <span aria-live="polite">
        {state === 'done' ? 'Copied' : state === 'failed' ? 'Select it by hand' : label}
      </span>
    </Button>
  )
}
