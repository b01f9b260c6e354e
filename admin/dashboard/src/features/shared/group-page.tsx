'use client'
import Link from 'next/link'
import { type ComponentType, useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { UsageRow } from '@/api/types'
import { Button, buttonClass } from '@/ui/button'
import { Card } from '@/ui/card'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { type Columns, Table } from '@/ui/table'
import { HolderDialog } from '../limits/holder-dialog'
import { usageColumns } from '../usage/usage-columns'
import { actionsColumn } from './columns'
import { usageHref } from './links'
import { OffsetPager } from './offset-pager'
import { useSpan } from './period'
import { PeriodPicker } from './period-picker'
import { SeriesCard } from './series-card'
import { offsetOf, useUrl } from './url'

const PAGE = 50
interface Props {
  by: 'org' | 'feature'
  title: string
  note: string
  icon: ComponentType<{ className?: string }>
  empty: string
}

/** Everything that bears one kind of name: what each used, and its limit. */
export function GroupPage({ by, title, note, icon, empty }: Props) {
  const span = useSpan()
  const offset = offsetOf(useUrl().get('offset'))
  const [edited, setEdited] = useState<string | null>(null)
  const change = useCan('change')
  const usage = api.useQuery('get', '/admin/usage', {
    params: { query: { ...span, by, limit: PAGE, offset } },
  })
  const columns = [...usageColumns([by]), actions(by, change ? setEdited : null)]
  return (
    <>
      <PageHeader title={title} note={note} fresh={usage} actions={<PeriodPicker />} />
      <div className="grid gap-5">
        <SeriesCard
          title={`Use by ${by}`}
          note={usage.data && `${usage.data.periodLabel}, UTC`}
          by={by}
          series={usage.data?.series ?? undefined}
        />
        <Card flush>
          <Answer
            of={usage}
            loading={<Table label={title} columns={columns} rows={undefined} rowId={String} />}
          >
            {(data) => (
              <>
                <Table
                  label={title}
                  columns={columns}
                  rows={data.rows}
                  rowId={(row) => JSON.stringify(row[by])}
                  empty={
                    <Empty icon={icon} title={`No ${title.toLowerCase()} yet`}>
                      {empty}
                    </Empty>
                  }
                />
                <OffsetPager
                  offset={offset}
                  page={PAGE}
                  shown={data.rows.length}
                  total={data.total}
                  noun={title.toLowerCase()}
                />
              </>
            )}
          </Answer>
        </Card>
      </div>
      {edited !== null && <HolderDialog kind={by} id={edited} onClose={() => setEdited(null)} />}
    </>
  )
}

function actions(by: 'org' | 'feature', edit: ((id: string) => void) | null): Columns<UsageRow>[number] {
  return actionsColumn((row) => {
    const id = row[by]
    if (id === null) return null
    return (
      <span className="inline-flex gap-1.5">
        <Link
          href={usageHref({ [by]: id })}
          prefetch={false}
          className={`${buttonClass('quiet', 'small')} max-sm:hidden`}
          aria-label={`Explore the usage of ${id}`}
        >
          Explore
        </Link>
        {edit && (
          <Button size="small" onClick={() => edit(id)} aria-label={`Limit of ${id}`}>
            Limit
          </Button>
        )}
      </span>
    )
  })
}
