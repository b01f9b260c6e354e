import type { Metadata } from 'next'
import { FeatureList } from '@/features/features/feature-list'

export const metadata: Metadata = { title: 'Features' }

export default function Page() {
  return <FeatureList />
}
