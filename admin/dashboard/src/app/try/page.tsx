import type { Metadata } from 'next'
import { TryCall } from '@/features/try/try-call'
import { InBrowser } from '@/ui/in-browser'
import { Loading } from '@/ui/skeleton'

export const metadata: Metadata = { title: 'Try a call' }

export default function Page() {
  return (
    <InBrowser meanwhile={<Loading label="Loading the page" className="h-96" />}>
      <TryCall />
    </InBrowser>
  )
}
