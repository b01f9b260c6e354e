'use client'
import { api } from '@/api/client'
import { LIVE_MS } from '@/api/provider'
import { Card } from '@/ui/card'
import { Select } from '@/ui/field'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Answer } from '@/ui/state'
import { CursorPager } from '../shared/cursor-pager'
import { SearchBox } from '../shared/search-box'
import { useUrl } from '../shared/url'
import { RefusalTable } from './refusal-table'
import { REASONS, reasonWords } from './refusal-words'

const PAGE = 50

export function RefusalPage() {
  const { get, set } = useUrl()
  const text = (name: string) => get(name) || undefined
  const query = {
    user: text('user'),
    org: text('org'),
    reason: text('reason'),
    cursor: text('cursor'),
    limit: PAGE,
  }
  const refusals = api.useQuery('get', '/admin/refusals', { params: { query } }, { refetchInterval: LIVE_MS })
  return (
    <>
      <PageHeader
        title="Refusals"
        note="Users and keys whose sessions were refused: one row for each of them, reason and minute, the newest first. Strangers are counted in the metrics alone."
        fresh={refusals}
      />
      <div className="mb-3 flex flex-wrap gap-2">
        <SearchBox name="user" label="User’s id" resets={['cursor']} />
        <SearchBox name="org" label="Org" resets={['cursor']} />
        <Select
          aria-label="Reason"
          className="w-48!"
          value={get('reason')}
          onChange={(event) => set({ reason: event.target.value, cursor: null })}
        >
          <option value="">All reasons</option>
          {REASONS.map((reason) => (
            <option key={reason} value={reason}>
              {reasonWords(reason)}
            </option>
          ))}
        </Select>
      </div>
      <Card flush>
        <Answer of={refusals} loading={<RefusalTable label="Refusals" rows={undefined} withUser />}>
          {(data) => (
            <>
              <RefusalTable label="Refusals" rows={data.refusals} withUser />
              <CursorPager next={data.nextCursor} text={`${count(data.refusals.length)} rows on this page`} />
            </>
          )}
        </Answer>
      </Card>
    </>
  )
}
