'use client'
import { useState } from 'react'
import { api } from '@/api/client'
import { useCan } from '@/api/role'
import type { Price } from '@/api/types'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Confirm } from '@/ui/confirm'
import { count } from '@/ui/format'
import { PageHeader } from '@/ui/header'
import { Empty } from '@/ui/notice'
import { Pager } from '@/ui/pager'
import { Answer } from '@/ui/state'
import { Table } from '@/ui/table'
import { SearchBox } from '../shared/search-box'
import { useUrl } from '../shared/url'
import { priceColumns } from './price-columns'
import { PriceDialog } from './price-dialog'

export function PriceList() {
  const search = useUrl().get('search').toLowerCase()
  const [edited, setEdited] = useState<Price | 'new' | null>(null)
  const [deleted, setDeleted] = useState<Price | null>(null)
  const own = useCan('own')
  const prices = api.useQuery('get', '/admin/prices', {}, { refetchInterval: 60_000 })
  const columns = priceColumns(own ? { edit: setEdited, remove: setDeleted } : null)
  const idOf = (price: Price) =>
    `${price.id} ${price.source} ${price.provider} ${price.model} ${price.effectiveFrom} ${price.conditions}`
  return (
    <>
      <PageHeader
        title="Prices"
        note="US dollars per million tokens. A change counts for what is used from its date on; what was used before keeps its cost."
        fresh={prices}
        actions={
          own && (
            <Button look="primary" onClick={() => setEdited('new')}>
              Set a price
            </Button>
          )
        }
      />
      <div className="mb-3 flex">
        <SearchBox label="Search by model or provider" />
      </div>
      <Card flush>
        <Answer
          of={prices}
          loading={<Table label="Prices" columns={columns} rows={undefined} rowId={String} />}
        >
          {(data) => {
            const shown = data.prices.filter((price) =>
              `${price.provider} ${price.model} ${price.aliases.join(' ')}`.toLowerCase().includes(search),
            )
            return (
              <>
                <Table
                  label="Prices"
                  columns={columns}
                  rows={shown}
                  rowId={idOf}
                  empty={<Empty title="No price matches the search" />}
                />
                <Pager
                  text={`${count(shown.length)} prices. A model without one costs $${data.fallback.usdPerMillion.textIn ?? 0} in and $${data.fallback.usdPerMillion.textOut ?? 0} out per million text tokens.`}
                />
              </>
            )
          }}
        </Answer>
      </Card>
      {edited && (
        <PriceDialog price={edited === 'new' ? undefined : edited} onClose={() => setEdited(null)} />
      )}
      {deleted && <Remove price={deleted} onClose={() => setDeleted(null)} />}
    </>
  )
}

function Remove({ price, onClose }: { price: Price; onClose: () => void }) {
  const remove = api.useMutation('delete', '/admin/prices/{id}', { onSuccess: onClose })
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Remove this price of ${price.model}?`}
      verb="Remove price"
      busy={remove.isPending}
      error={remove.error?.message}
      onConfirm={() => remove.mutate({ params: { path: { id: price.id ?? '' } } })}
    >
      The price from the file or the built-in one holds again from now on. Costs that were counted stay.
    </Confirm>
  )
}
