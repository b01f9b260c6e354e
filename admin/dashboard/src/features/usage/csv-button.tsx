'use client'
import { useMutation } from '@tanstack/react-query'
import { Download } from 'lucide-react'
import { client } from '@/api/client'
import { messageOf } from '@/api/error'
import type { UsageQuery } from '@/api/types'
import { Button } from '@/ui/button'

const ROWS_MAX = 10_000

/** The same rows as the table's, all pages of them, as the API writes them. */
export function CsvButton({ query }: { query: UsageQuery }) {
  const download = useMutation({ mutationFn: () => fetchCsv(query), onSuccess: save })
  return (
    <>
      {download.error && (
        <span role="alert" className="text-bad text-xs">
          {messageOf(download.error)}
        </span>
      )}
      <Button busy={download.isPending} onClick={() => download.mutate()}>
        <Download aria-hidden className="size-3.5" /> CSV
      </Button>
    </>
  )
}

async function fetchCsv(query: UsageQuery): Promise<string> {
  const { data } = await client.GET('/admin/usage', {
    params: { query: { ...query, limit: ROWS_MAX, offset: 0 } },
    headers: { Accept: 'text/csv' },
    parseAs: 'text',
  })
  return data ?? ''
}

function save(text: string) {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }))
  const link = Object.assign(document.createElement('a'), { href: address, download: 'tokenist-usage.csv' })
  link.click()
  URL.revokeObjectURL(address)
}
