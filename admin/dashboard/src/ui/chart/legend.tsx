interface Entry {
  label: string
  colour: string
  value: string
}

export function Legend({ entries }: { entries: Entry[] }) {
  return (
    <ul className="flex flex-wrap gap-x-5 gap-y-1.5 pt-3 text-xs">
      {entries.map((entry) => (
        <li key={entry.label} className="flex min-w-0 items-center gap-1.5">
          <span aria-hidden className="size-2 shrink-0 rounded-xs" style={{ background: entry.colour }} />
          <span className="max-w-52 truncate text-ink-2">{entry.label}</span>
          <span className="tabular-nums">{entry.value}</span>
        </li>
      ))}
    </ul>
  )
}
