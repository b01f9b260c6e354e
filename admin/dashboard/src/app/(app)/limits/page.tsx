import type { Metadata } from 'next'
import { LimitList } from '@/features/limits/limit-list'

export const metadata: Metadata = { title: 'Limits' }

export default function Page() {
  return <LimitList />
}
