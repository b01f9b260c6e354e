import type { Metadata } from 'next'
import { OrgList } from '@/features/orgs/org-list'

export const metadata: Metadata = { title: 'Orgs' }

export default function Page() {
  return <OrgList />
}
