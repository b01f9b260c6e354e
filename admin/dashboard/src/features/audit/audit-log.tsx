'use client'
import { ScrollText } from 'lucide-react'
import { api } from '@/api/client'
import { Card } from '@/ui/card'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { CursorPager } from '../shared/cursor-pager'
import { SearchBox } from '../shared/search-box'
import { useUrl } from '../shared/url'
import { auditColumns } from './audit-columns'

const PAGE = 50

export function AuditLog() {
  const { get } = useUrl()
  const text = (name: string) => get(name) || undefined
  const query = {
    limit: PAGE,
    action: text('action'),
    subject: text('subject'),
    actor: text('actor'),
    cursor: text('cursor'),
  }
  const audit = api.useQuery('get', '/admin/audit', { params: { query } })
  return (
    <>
      <PageHeader
        title="Audit"
        note="Every change that operators and machines made: who, what, and how it was before. Newest first."
        fresh={audit}
      />
      <div className="mb-3 flex flex-wrap gap-2">
        <SearchBox name="action" label="Action, such as user.block" resets={['cursor']} />
        <SearchBox name="subject" label="Subject’s id" resets={['cursor']} />
        <SearchBox name="actor" label="Who" resets={['cursor']} />
      </div>
      <Card flush>
        <Answer
          of={audit}
          loading={<Table label="Audit" columns={auditColumns} rows={undefined} rowId={String} />}
        >
          {(data) => (
            <>
              <Table
                label="Audit"
                columns={auditColumns}
                rows={data.entries}
                rowId={(row) => row.id}
                empty={
                  <Empty icon={ScrollText} title="No changes found">
                    Changes are kept here from the first one on.
                  </Empty>
                }
              />
              <CursorPager
                next={data.nextCursor}
                text={`${count(data.entries.length)} changes on this page`}
              />
            </>
          )}
        </Answer>
      </Card>
    </>
  )
}
