'use client'
import {
  Activity,
  BadgeDollarSign,
  Ban,
  BookOpen,
  Building2,
  ChartColumn,
  Gauge,
  KeyRound,
  LayoutDashboard,
  Phone,
  Puzzle,
  ScrollText,
  Settings,
  ShieldAlert,
  UserRoundCog,
  Users,
} from 'lucide-react'
import Link from 'next/link'
import { usePathname } from 'next/navigation'
import { useCan } from '@/api/role'
import { cx } from '@/ui/cx'

const GROUPS = [
  {
    label: 'Watch',
    items: [
      { href: '/', label: 'Overview', icon: LayoutDashboard },
      { href: '/usage', label: 'Usage', icon: ChartColumn },
      { href: '/sessions', label: 'Live sessions', icon: Activity },
    ],
  },
  {
    label: 'Control',
    items: [
      { href: '/users', label: 'Users', icon: Users },
      { href: '/orgs', label: 'Orgs', icon: Building2 },
      { href: '/features', label: 'Features', icon: Puzzle },
      { href: '/limits', label: 'Limits', icon: Gauge },
      { href: '/blocks', label: 'Blocklist', icon: Ban },
      { href: '/refusals', label: 'Refusals', icon: ShieldAlert },
    ],
  },
  {
    label: 'Run',
    items: [
      { href: '/keys', label: 'Keys', icon: KeyRound },
      { href: '/prices', label: 'Prices', icon: BadgeDollarSign },
      { href: '/audit', label: 'Audit', icon: ScrollText },
      { href: '/logins', label: 'Logins', icon: UserRoundCog, own: true },
      { href: '/settings', label: 'Settings', icon: Settings },
      { href: '/reference', label: 'API', icon: BookOpen },
      { href: '/try', label: 'Try a call', icon: Phone, whole: true },
    ],
  },
]

export function Nav({ onGo }: { onGo?: () => void }) {
  const path = usePathname()
  const own = useCan('own')
  return (
    <nav aria-label="Main" className="grid gap-5">
      {GROUPS.map((group) => (
        <div key={group.label}>
          <p className="mb-1 px-2.5 font-medium text-2xs text-ink-3">{group.label}</p>
          <ul className="grid gap-px">
            {group.items
              .filter((item) => own || !('own' in item))
              .map(({ href, label, icon: Icon, ...rest }) => {
                const current = href === '/' ? path === '/' : path.startsWith(href)
                // A page with a policy of its own has to be loaded for itself.
                const To = 'whole' in rest ? 'a' : Link
                return (
                  <li key={href}>
                    <To
                      href={href}
                      {...(To === Link && { prefetch: false })}
                      onClick={onGo}
                      aria-current={current ? 'page' : undefined}
                      className={cx(
                        'flex h-8 items-center gap-2.5 rounded-lg px-2.5 font-medium transition-colors',
                        current
                          ? 'bg-panel text-ink shadow-card ring-1 ring-line ring-inset'
                          : 'text-ink-2 hover:bg-sunken hover:text-ink',
                      )}
                    >
                      <Icon
                        aria-hidden
                        className={cx('size-4', current ? 'text-accent-ink' : 'text-ink-3')}
                      />
                      {label}
                    </To>
                  </li>
                )
              })}
          </ul>
        </div>
      ))}
    </nav>
  )
}
