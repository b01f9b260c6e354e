import { expect, test } from 'vitest'
import type { AuditEntry } from '@/api/types'
import { limitBefore } from './undo'

const entry = (action: string, kind: string, before: unknown): AuditEntry => ({
  id: 'audit_1',
  at: '2026-11-28T20:00:00.000Z',
  actor: { kind: 'login', id: 'login_1', name: 'ann@example.test' },
  action,
  subject: { kind, id: 'acme' },
  before,
  after: null,
})

test('only a change of a limit can be undone, to what it was', () => {
  const before = { maxCostUsd: 5, window: 'daily' }
  expect(limitBefore(entry('org.limit', 'org', before))).toEqual({ kind: 'org', id: 'acme', limit: before })
  expect(limitBefore(entry('org.limit', 'org', null))).toBeNull()
  expect(limitBefore(entry('user.block', 'user', { reason: 'loop' }))).toBeNull()
})
