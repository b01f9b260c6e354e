import type { ReactNode } from 'react'
import { Shell } from '@/features/shell/shell'
import { InBrowser } from '@/ui/in-browser'
import { Loading } from '@/ui/skeleton'

export default function AppLayout({ children }: { children: ReactNode }) {
  return (
    <Shell>
      <InBrowser meanwhile={<Loading label="Loading the page" className="h-96" />}>{children}</InBrowser>
    </Shell>
  )
}
