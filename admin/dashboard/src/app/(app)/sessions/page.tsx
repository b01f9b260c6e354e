import type { Metadata } from 'next'
import { SessionList } from '@/features/sessions/session-list'

export const metadata: Metadata = { title: 'Live sessions' }

export default function Page() {
  return <SessionList />
}
