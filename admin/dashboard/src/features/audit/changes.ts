export interface Change {
  name: string
  before?: string
  after?: string
}

/** What differs between two states, field by field; a state that is no object is one field without a name. */
export function changesOf(before: unknown, after: unknown): Change[] {
  const [old, now] = [fieldsOf(before), fieldsOf(after)]
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])]
  return names
    .filter((name) => old[name] !== now[name])
    .map((name) => ({ name, before: old[name], after: now[name] }))
}

function fieldsOf(state: unknown): Record<string, string | undefined> {
  if (state === null || state === undefined) return {}
  if (typeof state !== 'object' || Array.isArray(state)) return { '': JSON.stringify(state) }
  const said = Object.entries(state).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(
    said.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}
