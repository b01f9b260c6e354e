import type { Metadata } from 'next'
import { OrgDetail } from '@/features/orgs/org-detail'

export const metadata: Metadata = { title: 'Org' }

export default function Page() {
  return <OrgDetail />
}
