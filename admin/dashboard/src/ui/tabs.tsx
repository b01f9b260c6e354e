import Link from 'next/link'
import { cx } from './cx'

/** Parts of one page that are links, so that each has an address. */
export function LinkTabs({
  label,
  tabs,
}: {
  label: string
  tabs: { href: string; label: string; current: boolean }[]
}) {
  return (
    <nav aria-label={label} className="-mb-px flex gap-5 overflow-x-auto border-b">
      {tabs.map((tab) => (
        <Link
          key={tab.href}
          href={tab.href}
          aria-current={tab.current ? 'page' : undefined}
          className={cx(
            'whitespace-nowrap border-b-2 px-0.5 py-2 font-medium',
            tab.current ? 'border-accent text-ink' : 'border-transparent text-ink-2 hover:text-ink',
          )}
        >
          {tab.label}
        </Link>
      ))}
    </nav>
  )
}
