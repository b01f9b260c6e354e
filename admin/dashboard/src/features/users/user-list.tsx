'use client'
import type { SortingState, Updater } from '@tanstack/react-table'
import { Users } from 'lucide-react'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { UsersQuery } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Select } from '@/ui/field'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { CursorPager } from '../shared/cursor-pager'
import { WINDOW_LABELS, WINDOWS } from '../shared/period'
import { SearchBox } from '../shared/search-box'
import { oneOf, useUrl } from '../shared/url'
import { CreateUser } from './create-user'
import { userColumns } from './user-columns'

const PAGE = 50
const SORTS = ['cost', 'tokens', 'id', 'lastUpdated'] as const satisfies UsersQuery['sort'][]

export function UserList() {
  const { get, set } = useUrl()
  const [creating, setCreating] = useState(false)
  const change = useCan('change')
  const sort = oneOf(SORTS, get('sort'))
  const order = oneOf(['desc', 'asc'], get('order'))
  const period = oneOf(WINDOWS, get('period'))
  const text = (name: string) => get(name) || undefined
  const query = {
    limit: PAGE,
    sort,
    order,
    period,
    search: text('search'),
    org: text('org'),
    cursor: text('cursor'),
    ...(get('blocked') && { blocked: true }),
  }
  const users = api.useQuery('get', '/admin/users', { params: { query } })
  const sorting: SortingState = [{ id: sort, desc: order === 'desc' }]
  const onSort = (next: Updater<SortingState>) => {
    const chosen = (typeof next === 'function' ? next(sorting) : next)[0]
    if (chosen) set({ sort: chosen.id, order: chosen.desc ? null : 'asc', cursor: null })
  }
  return (
    <>
      <PageHeader
        title="Users"
        note="Whose usage is metered. A user appears with the first event, or is made here."
        fresh={users}
        actions={
          change && (
            <Button look="primary" onClick={() => setCreating(true)}>
              New user
            </Button>
          )
        }
      />
      <div className="mb-3 flex flex-wrap items-center gap-2">
        <SearchBox label="Search by id, name or email" resets={['cursor']} />
        <Select
          aria-label="Usage of"
          className="w-34!"
          value={period}
          onChange={(event) => set({ period: event.target.value, cursor: null })}
        >
          {WINDOWS.map((window) => (
            <option key={window} value={window}>
              {WINDOW_LABELS[window]}
            </option>
          ))}
        </Select>
        <Select
          aria-label="Blocked or not"
          className="w-34!"
          value={get('blocked')}
          onChange={(event) => set({ blocked: event.target.value, cursor: null })}
        >
          <option value="">Everybody</option>
          <option value="true">Blocked only</option>
        </Select>
        {get('org') && (
          <Button size="small" look="quiet" onClick={() => set({ org: null, cursor: null })}>
            Of {get('org')}, show all
          </Button>
        )}
      </div>
      <Card flush>
        <Answer
          of={users}
          loading={
            <Table label="Users" columns={userColumns} rows={undefined} rowId={String} sorting={sorting} />
          }
        >
          {(data) => (
            <>
              <Table
                label="Users"
                columns={userColumns}
                rows={data.users}
                rowId={(row) => row.userId}
                sorting={sorting}
                onSort={onSort}
                empty={
                  <Empty icon={Users} title="No users found">
                    {get('search') || get('blocked')
                      ? 'No user matches the search.'
                      : 'Users appear here with their first event.'}
                  </Empty>
                }
              />
              <CursorPager next={data.nextCursor} text={`${count(data.users.length)} users on this page`} />
            </>
          )}
        </Answer>
      </Card>
      {creating && <CreateUser onClose={() => setCreating(false)} />}
    </>
  )
}
