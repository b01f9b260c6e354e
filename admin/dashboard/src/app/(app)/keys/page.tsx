import type { Metadata } from 'next'
import { KeyList } from '@/features/keys/key-list'

export const metadata: Metadata = { title: 'Keys' }

export default function Page() {
  return <KeyList />
}
