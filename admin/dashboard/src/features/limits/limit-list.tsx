'use client'
import type { SortingState, Updater } from '@tanstack/react-table'
import { Gauge } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { HolderLimit, LimitKind, LimitsQuery } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Select } from '@/ui/field'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { OffsetPager } from '../shared/offset-pager'
import { SearchBox } from '../shared/search-box'
import { offsetOf, oneOf, useUrl } from '../shared/url'
import { limitColumns } from './limit-columns'
import { LimitDialog } from './limit-dialog'
import { KIND_LABELS, limitWords, MODE_SENTENCES } from './limit-words'

const PAGE = 50
/** The first is meant if nothing is said: the nearest to its limit first. */
const SORTS = ['used', 'holder'] as const satisfies LimitsQuery['sort'][]

export function LimitList() {
  const { get, set } = useUrl()
  const [edited, setEdited] = useState<HolderLimit | 'new' | null>(null)
  const change = useCan('change')
  const offset = offsetOf(get('offset'))
  const kind = (get('kind') || undefined) as LimitKind | undefined
  const sort = oneOf(SORTS, get('sort'))
  const ownOnly = get('own') === 'true'
  const limits = api.useQuery('get', '/admin/limits', {
    params: {
      query: { kind, search: get('search') || undefined, sort, defaults: !ownOnly, limit: PAGE, offset },
    },
  })
  const sorting: SortingState = [{ id: sort, desc: sort === 'used' }]
  const onSort = (next: Updater<SortingState>) => {
    const chosen = (typeof next === 'function' ? next(sorting) : next)[0]
    if (chosen) set({ sort: chosen.id, offset: null })
  }
  const rules = limits.data?.default
  return (
    <>
      <PageHeader
        title="Limits"
        note="What users, orgs, features and keys may use before tokenist warns or refuses. Where several bind, the first that is reached counts."
        fresh={limits}
        actions={
          change && (
            <Button look="primary" onClick={() => setEdited('new')}>
              Set a limit
            </Button>
          )
        }
      />
      {rules && (
        <div className="mb-5">
          <Card title="Default for users" note={MODE_SENTENCES[rules.mode]}>
            <p className="font-medium">{limitWords(rules)}</p>
          </Card>
        </div>
      )}
      <div className="mb-3 flex flex-wrap gap-2">
        <SearchBox label="Search by id or name" resets={['offset']} />
        <Select
          aria-label="Kind"
          className="w-36!"
          value={kind ?? ''}
          onChange={(event) => set({ kind: event.target.value, offset: null })}
        >
          <option value="">All kinds</option>
          {Object.entries(KIND_LABELS).map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </Select>
        <Select
          aria-label="Whose limits"
          className="w-56!"
          value={ownOnly ? 'true' : ''}
          onChange={(event) => set({ own: event.target.value, offset: null })}
        >
          <option value="">With those the default binds</option>
          <option value="true">Limits of their own only</option>
        </Select>
      </div>
      <Card flush>
        <Answer
          of={limits}
          loading={
            <Table
              label="Limits"
              columns={limitColumns(null)}
              rows={undefined}
              rowId={String}
              sorting={sorting}
            />
          }
        >
          {(data) => (
            <>
              <Table
                label="Limits"
                columns={limitColumns(change ? setEdited : null)}
                rows={data.limits}
                rowId={(row) => `${row.kind} ${row.id}`}
                sorting={sorting}
                onSort={onSort}
                empty={
                  <Empty
                    icon={Gauge}
                    title={ownOnly ? 'No limit of their own' : 'Nobody is bound by a limit'}
                  >
                    Users follow the default until a limit of their own is set.
                  </Empty>
                }
              />
              <OffsetPager
                offset={offset}
                page={PAGE}
                shown={data.limits.length}
                total={data.total}
                noun="limits"
              />
            </>
          )}
        </Answer>
      </Card>
      {edited && (
        <LimitDialog
          holder={edited === 'new' ? undefined : edited}
          begin={edited === 'new' ? rules : undefined}
          onClose={() => setEdited(null)}
        />
      )}
    </>
  )
}
