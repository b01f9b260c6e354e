'use client'
import { Search } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { Input } from '@/ui/field'
import { useUrl } from './url'

/** A search that goes into the address once typing pauses, and starts at the first page again. */
export function SearchBox({
  name = 'search',
  label,
  resets = [],
}: {
  name?: string
  label: string
  resets?: string[]
}) {
  const { get, set } = useUrl()
  const [text, setText] = useState(get(name))
  const pause = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(pause.current), [])
  const type = (value: string) => {
    setText(value)
    clearTimeout(pause.current)
    pause.current = setTimeout(
      () => set({ [name]: value, ...Object.fromEntries(resets.map((each) => [each, null])) }, 'replace'),
      250,
    )
  }
  return (
    <span className="relative block w-full sm:w-64">
      <Search aria-hidden className="pointer-events-none absolute top-2 left-2.5 size-4 text-ink-3" />
      <Input
        type="search"
        aria-label={label}
        placeholder={label}
        className="pl-8"
        value={text}
        onChange={(event) => type(event.target.value)}
      />
    </span>
  )
}
