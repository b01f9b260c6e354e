import type { Metadata } from 'next'
import { RefusalPage } from '@/features/refusals/refusal-page'

export const metadata: Metadata = { title: 'Refusals' }

export default function Page() {
  return <RefusalPage />
}
