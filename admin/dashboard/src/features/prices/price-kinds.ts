import type { Price } from '@/api/types'

export type PriceKind = keyof Price['usdPerMillion']
export const KINDS: { kind: PriceKind; label: string }[] = [
  { kind: 'textIn', label: 'Text in' },
  { kind: 'cachedTextIn', label: 'Text in, cached' },
  { kind: 'cacheWriteIn', label: 'Text in, written to a cache' },
  { kind: 'cacheWriteLongIn', label: 'The same, for hours' },
  { kind: 'textOut', label: 'Text out' },
  { kind: 'audioIn', label: 'Audio in' },
  { kind: 'cachedAudioIn', label: 'Audio in, cached' },
  { kind: 'audioOut', label: 'Audio out' },
  { kind: 'imageIn', label: 'Image in' },
  { kind: 'cachedImageIn', label: 'Image in, cached' },
  { kind: 'imageOut', label: 'Image out' },
  { kind: 'videoIn', label: 'Video in' },
  { kind: 'videoOut', label: 'Video out' },
  { kind: 'charactersIn', label: 'Characters' },
]
