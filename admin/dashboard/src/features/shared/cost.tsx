import type { Usage } from '@/api/types'
import { usd } from '@/ui/format'

interface Props {
  usage: Pick<Usage, 'costUsd' | 'estimatedCostUsd'>
  /** No price is known for the model. */
  unpriced?: boolean
}

/** An amount, marked where some of it is a guess of ours. */
export function Cost({ usage, unpriced = false }: Props) {
  const guesses = guessWords(usage.estimatedCostUsd, unpriced ? usage.costUsd : 0)
  if (guesses === null) return usd(usage.costUsd)
  return (
    <span title={guesses}>
      <span aria-hidden className="text-ink-3">
        ≈{' '}
      </span>
      {usd(usage.costUsd)}
      <span className="sr-only">, {guesses}</span>
    </span>
  )
}

/**
 * How much of an amount is a guess, and why: no figure came from the provider, or no price is known for the model.
 * Null where nothing is.
 */
export function guessWords(estimated: number, unpriced: number): string | null {
  const parts = [
    estimated > 0 && `${usd(estimated)} estimated`,
    unpriced > 0 && `${usd(unpriced)} at the fallback price`,
  ].filter(Boolean)
  return parts.length > 0 ? `of which ${parts.join(', ')}` : null
}
