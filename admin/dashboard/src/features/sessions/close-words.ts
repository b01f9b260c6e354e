import type { Tone } from '@/ui/badge'

const WORDS: Record<number, [string, Tone]> = {
  1000: ['Normal', 'neutral'],
  1001: ['Going away', 'neutral'],
  1002: ['Protocol broken', 'warn'],
  1006: ['Connection lost', 'neutral'],
  1007: ['Text not UTF-8', 'warn'],
  1009: ['Message too big', 'warn'],
  1011: ['Internal error', 'bad'],
  4001: ['Bad credential', 'warn'],
  4003: ['Blocked or ended', 'bad'],
  4004: ['Limit reached', 'bad'],
  4008: ['Time limit, idle or not reading', 'warn'],
  4029: ['Too many sessions', 'warn'],
  4502: ['Provider failed', 'bad'],
  4503: ['Overloaded', 'warn'],
}

export function closeWords(code: number | null): { words: string; tone: Tone } {
  if (code === null) return { words: 'No close seen', tone: 'neutral' }
  const [words, tone] = WORDS[code] ?? ['Closed', 'neutral']
  return { words, tone }
}
