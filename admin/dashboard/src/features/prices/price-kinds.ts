import type { Price } from '@/api/types'

export type PriceKind = keyof Price['usdPerMillion']
export const KINDS: { kind: PriceKind; label: string }[] = [
  { kind: 'textIn', label: 'Text in' },
  { kind: 'cachedTextIn', label: 'Text in, cached' },
  { kind: 'textOut', label: 'Text out' },
  { kind: 'audioIn', label: 'Audio in' },
  { kind: 'cachedAudioIn', label: 'Audio in, cached' },
  { kind: 'audioOut', label: 'Audio out' },
  { kind: 'imageIn', label: 'Image in' },
  { kind: 'cachedImageIn', label: 'Image in, cached' },
]
