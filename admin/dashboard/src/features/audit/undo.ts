import type { AuditEntry, Limit, LimitKind } from '@/api/types'

const KINDS: readonly string[] = ['user', 'org', 'feature', 'key'] satisfies LimitKind[]

/** Whose limit was changed, and what it was before; null of any other change. */
export function limitBefore({ action, subject, before }: AuditEntry) {
  const isLimit = action === `${subject.kind}.limit` && KINDS.includes(subject.kind)
  if (!isLimit || typeof before !== 'object' || before === null) return null
  return { kind: subject.kind as LimitKind, id: subject.id, limit: before as Partial<Limit> }
}
