import type { Price } from '@/api/types'
import { KINDS, type PriceKind } from './price-kinds'

/** A price as it stands in the form: text, where empty means that there is none. */
export interface PriceFields {
  provider: string
  model: string
  aliases: string
  effectiveFrom: string
  perMinute: string
  perMillion: Record<PriceKind, string>
  /** What the form does not show stays as it is. */
  kept: Pick<Price, 'conditions' | 'factor' | 'usdPerThousand'> | null
}

export function fieldsOf(price?: Price): PriceFields {
  return {
    provider: price?.provider ?? '',
    model: price?.model ?? '',
    aliases: price?.aliases.join(', ') ?? '',
    effectiveFrom: price?.source === 'api' ? (price.effectiveFrom?.slice(0, 10) ?? '') : '',
    perMinute: text(price?.usdPerMinute),
    perMillion: Object.fromEntries(
      KINDS.map(({ kind }) => [kind, text(price?.usdPerMillion[kind])]),
    ) as PriceFields['perMillion'],
    kept: price ?? null,
  }
}

export function requestOf(fields: PriceFields) {
  const { provider, model, aliases, effectiveFrom, perMinute, perMillion, kept } = fields
  const { items, searches, fileSearches } = kept?.usdPerThousand ?? {}
  return {
    provider: provider.trim() || undefined,
    model: model.trim(),
    aliases: aliases
      .split(',')
      .map((each) => each.trim())
      .filter(Boolean),
    effectiveFrom: effectiveFrom || undefined,
    usdPerMillion: Object.fromEntries(KINDS.map(({ kind }) => [kind, number(perMillion[kind])])),
    usdPerMinute: number(perMinute),
    usdPerThousand: {
      items: items ?? undefined,
      searches: searches ?? undefined,
      fileSearches: fileSearches ?? undefined,
    },
    conditions: kept?.conditions ?? undefined,
    factor: kept?.factor ?? undefined,
  }
}

function text(value: number | null | undefined): string {
  return value === null || value === undefined ? '' : String(value)
}

function number(value: string): number | undefined {
  return value.trim() === '' ? undefined : Number(value)
}
