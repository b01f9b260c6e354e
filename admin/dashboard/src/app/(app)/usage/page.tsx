import type { Metadata } from 'next'
import { UsageExplorer } from '@/features/usage/usage-explorer'

export const metadata: Metadata = { title: 'Usage' }

export default function Page() {
  return <UsageExplorer />
}
