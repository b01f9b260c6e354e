'use client'
import { ChevronLeft } from 'lucide-react'
import Link from 'next/link'
import { api } from '@/api/client'
import { buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { count, usd, usdShort } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Stat, Stats } from '@/ui/stat'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { LimitCard } from '../limits/limit-card'
import { usageHref } from '../shared/links'
import { useSpan } from '../shared/period'
import { PeriodPicker } from '../shared/period-picker'
import { SeriesCard } from '../shared/series-card'
import { useUrl } from '../shared/url'
import { usageColumns } from '../usage/usage-columns'

export function OrgDetail() {
  const id = useUrl().get('org')
  if (!id)
    return (
      <Empty
        title="No org is named"
        action={
          <Link href="/orgs" className="underline">
            All orgs
          </Link>
        }
      />
    )
  return <OneOrg key={id} id={id} />
}

function OneOrg({ id }: { id: string }) {
  const span = useSpan()
  const users = api.useQuery('get', '/admin/usage', {
    params: { query: { ...span, org: id, by: 'user', limit: 100 } },
  })
  const models = api.useQuery('get', '/admin/usage', {
    params: { query: { ...span, org: id, by: 'model', limit: 100 } },
  })
  const usage = users.data?.usage
  return (
    <>
      <PageHeader
        title={id}
        above={
          <Link
            href="/orgs"
            className="mb-1 inline-flex items-center gap-0.5 text-ink-3 text-xs hover:text-ink"
          >
            <ChevronLeft aria-hidden className="size-3.5" /> Orgs
          </Link>
        }
        fresh={users}
        actions={<PeriodPicker />}
      />
      <div className="grid gap-5">
        <Stats>
          <Stat
            label="Cost, US dollars"
            value={usage && usdShort(usage.costUsd)}
            title={usage && usd(usage.costUsd)}
            note={users.data && `${users.data.periodLabel}, UTC`}
          />
          <Stat label="Tokens" value={usage && count(usage.totalTokens)} />
          <Stat label="Users" value={users.data && count(users.data.total)} note="who used something" />
          <Stat label="Responses" value={usage && count(usage.requests)} />
        </Stats>
        <LimitCard kind="org" id={id} title="Limit of this org" />
        <SeriesCard title="Use by model" by="model" series={models.data?.series ?? undefined} />
        <Card
          title="Users"
          note="The dearest 100 of this period"
          flush
          actions={
            <Link href={usageHref({ org: id, by: 'user' })} className={buttonClass('quiet', 'small')}>
              Explore
            </Link>
          }
        >
          <Answer of={users}>
            {(data) => (
              <Table
                label="Users of the org"
                columns={usageColumns(['user'])}
                rows={data.rows}
                rowId={(row) => String(row.user)}
                empty={<Empty title="Nobody used anything in this period" />}
              />
            )}
          </Answer>
        </Card>
      </div>
    </>
  )
}
