import type { Metadata } from 'next'
import { Blocklist } from '@/features/blocks/blocklist'

export const metadata: Metadata = { title: 'Blocklist' }

export default function Page() {
  return <Blocklist />
}
