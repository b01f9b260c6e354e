import { type ReactNode, Suspense } from 'react'
import { Shell } from '@/features/shell/shell'
import { Loading } from '@/ui/skeleton'

// Pages read their address, which a static page knows only in the browser: until then a skeleton stands in.
export default function AppLayout({ children }: { children: ReactNode }) {
  return (
    <Shell>
      <Suspense fallback={<Loading label="Loading the page" className="h-96" />}>{children}</Suspense>
    </Shell>
  )
}
