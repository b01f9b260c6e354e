import Link from 'next/link'
import { buttonClass } from '@/ui/button'

export default function NotFound() {
  return (
    <main className="grid min-h-dvh place-items-center p-6 text-center">
      <div>
        <h1 className="font-semibold text-xl">There is no such page</h1>
        <p className="mt-1 mb-5 text-ink-2">The address may be old or mistyped.</p>
        <Link href="/" className={buttonClass('primary')}>
          To the overview
        </Link>
      </div>
    </main>
  )
}
