'use client'
import { useId, useState } from 'react'
import { api } from '@/api/client'
import type { By } from '@/api/types'
import { Button } from '@/ui/button'
import { cx } from '@/ui/cx'
import { Input } from '@/ui/field'
import { useSpan } from '../shared/period'
import { useUrl } from '../shared/url'
import { FILTERS } from './usage-query'

const LABELS: Record<(typeof FILTERS)[number], { label: string; by: By }> = {
  users: { label: 'Users', by: 'user' },
  org: { label: 'Org', by: 'org' },
  feature: { label: 'Feature', by: 'feature' },
  model: { label: 'Model', by: 'model' },
  provider: { label: 'Provider', by: 'provider' },
}

export function Filters() {
  const { get, set } = useUrl()
  const active = FILTERS.some((name) => get(name))
  return (
    <div className="flex flex-wrap items-center gap-2">
      {FILTERS.map((name) => (
        <Filter key={`${name} ${get(name)}`} name={name} />
      ))}
      {active && (
        <Button
          look="quiet"
          size="small"
          onClick={() => set({ ...Object.fromEntries(FILTERS.map((name) => [name, null])), offset: null })}
        >
          Clear filters
        </Button>
      )}
    </div>
  )
}

/** A box that offers the dearest of the period once it is entered, and takes any other name too. */
function Filter({ name }: { name: (typeof FILTERS)[number] }) {
  const { label, by } = LABELS[name]
  const { get, set } = useUrl()
  const span = useSpan()
  const id = useId()
  const value = get(name)
  const [text, setText] = useState(value)
  const [asked, setAsked] = useState(false)
  const known = api.useQuery(
    'get',
    '/admin/usage',
    { params: { query: { ...span, by, grain: 'none', limit: 100 } } },
    { enabled: asked, refetchInterval: false },
  )
  const names = known.data?.rows.map((row) => row[by]).filter((each) => each !== null) ?? []
  const commit = (next: string) => next.trim() !== value && set({ [name]: next.trim(), offset: null })
  return (
    <>
      <Input
        type="search"
        aria-label={`Filter by ${label.toLowerCase()}`}
        placeholder={`Any ${label.toLowerCase()}`}
        list={id}
        title={name === 'users' ? 'Several with commas between them' : undefined}
        className={cx('w-38!', value && 'border-accent! bg-accent-soft!')}
        value={text}
        onFocus={() => setAsked(true)}
        onChange={(event) => {
          setText(event.target.value)
          if (event.target.value === '' || names.includes(event.target.value)) commit(event.target.value)
        }}
        onBlur={() => commit(text)}
        onKeyDown={(event) => event.key === 'Enter' && commit(text)}
      />
      <datalist id={id}>
        {names.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
    </>
  )
}
