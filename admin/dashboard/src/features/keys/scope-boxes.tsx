import type { Scope } from '@/api/types'

const SCOPES: { scope: Scope; words: string }[] = [
  { scope: 'proxy', words: 'connect through the proxy' },
  { scope: 'sdk', words: 'report calls made elsewhere' },
  { scope: 'admin', words: 'everything that this dashboard can' },
]

export function ScopeBoxes({
  scopes,
  onChange,
  without,
}: {
  scopes: Scope[]
  onChange: (scopes: Scope[]) => void
  without?: Scope
}) {
  return (
    <fieldset className="grid gap-1.5">
      <legend className="mb-1.5 font-medium">May</legend>
      {SCOPES.filter(({ scope }) => scope !== without).map(({ scope, words }) => (
        <label key={scope} className="flex items-center gap-2">
          <input
            type="checkbox"
            className="size-4 accent-(--accent)"
            checked={scopes.includes(scope)}
            onChange={(event) =>
              onChange(event.target.checked ? [...scopes, scope] : scopes.filter((each) => each !== scope))
            }
          />
          <code className="w-12 font-mono text-xs">{scope}</code>
          <span className="text-ink-2">{words}</span>
        </label>
      ))}
    </fieldset>
  )
}
