'use client'
import { useMutation } from '@tanstack/react-query'
import { Download } from 'lucide-react'
import { client } from '@/api/client'
import { messageOf } from '@/api/error'
import type { UsageQuery } from '@/api/types'
import { Button } from '@/ui/button'

/** The same rows as the table's, all pages of them, as the API writes them, however many there are. */
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

interface File {
  content: Blob
  name: string
}

async function fetchCsv({ limit: _, offset: __, ...query }: UsageQuery): Promise<File> {
  const { data, response } = await client.GET('/admin/usage', {
    params: { query },
    headers: { Accept: 'text/csv' },
    parseAs: 'blob',
  })
  const named = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')
  return { content: data ?? new Blob(), name: named?.[1] ?? 'tokenist-usage.csv' }
}

function save({ content, name }: File) {
  const address = URL.createObjectURL(content)
  const link = Object.assign(document.createElement('a'), { href: address, download: name })
  link.click()
  URL.revokeObjectURL(address)
}
