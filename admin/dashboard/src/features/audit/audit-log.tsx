'use client'
import { ScrollText } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import { Card } from '@/ui/card'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Pager } from '@/ui/pager'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { HolderDialog } from '../limits/holder-dialog'
import { SearchBox } from '../shared/search-box'
import { offsetOf, useUrl } from '../shared/url'
import { auditColumns } from './audit-columns'
import { limitBefore } from './undo'

const PAGE = 50

export function AuditLog() {
  const { get, set } = useUrl()
  const change = useCan('change')
  const [undone, setUndone] = useState<ReturnType<typeof limitBefore>>(null)
  const offset = offsetOf(get('offset'))
  const go = (to: number) => set({ offset: to > 0 ? String(to) : null })
  const text = (name: string) => get(name) || undefined
  const query = {
    limit: PAGE,
    action: text('action'),
    subject: text('subject'),
    actor: text('actor'),
    offset,
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
        <SearchBox name="action" label="Action, such as user.block" resets={['offset']} />
        <SearchBox name="subject" label="Subject’s id" resets={['offset']} />
        <SearchBox name="actor" label="Who" resets={['offset']} />
      </div>
      <Card flush>
        <Answer
          of={audit}
          loading={<Table label="Audit" columns={auditColumns(null)} rows={undefined} rowId={String} />}
        >
          {(data) => (
            <>
              <Table
                label="Audit"
                columns={auditColumns(change ? (entry) => setUndone(limitBefore(entry)) : null)}
                rows={data.entries}
                rowId={(row) => row.id}
                empty={
                  <Empty icon={ScrollText} title="No changes found">
                    Changes are kept here from the first one on.
                  </Empty>
                }
              />
              <Pager
                text={
                  data.entries.length === 0
                    ? 'No changes'
                    : `${count(offset + 1)} to ${count(offset + data.entries.length)}`
                }
                onPrevious={offset > 0 ? () => go(Math.max(0, offset - PAGE)) : undefined}
                onNext={data.more ? () => go(offset + PAGE) : undefined}
              />
            </>
          )}
        </Answer>
      </Card>
      {undone && (
        <HolderDialog
          kind={undone.kind}
          id={undone.id}
          restore={undone.limit}
          onClose={() => setUndone(null)}
        />
      )}
    </>
  )
}
