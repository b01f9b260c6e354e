import { expect, test } from 'vitest'
import { instantOf } from './expiry-field'
import { spanOf } from './period'
import { offsetOf, oneOf, withChanges } from './url'

test('a change keeps the other parameters and drops empty ones', () => {
  expect(withChanges('?a=1&b=2', { b: '3' })).toBe('?a=1&b=3')
  expect(withChanges('?a=1&b=2', { a: null, b: '' })).toBe('')
  expect(withChanges('', { user: 'a/b?c=d#e&f' })).toBe('?user=a%2Fb%3Fc%3Dd%23e%26f')
})

test('an address that makes no sense falls back', () => {
  expect(oneOf(['cost', 'id'], 'nonsense')).toBe('cost')
  expect([offsetOf('50'), offsetOf('-1'), offsetOf('1e9'), offsetOf('')]).toEqual([50, 0, 0, 0])
})

test('a range needs two days in order; else the period holds', () => {
  expect(spanOf('daily', '2026-11-01', '2026-11-07')).toEqual({ from: '2026-11-01', to: '2026-11-07' })
  expect(spanOf('daily', '2026-11-07', '2026-11-01')).toEqual({ period: 'daily' })
  expect(spanOf('weekly', '2026-99-99', '2026-11-01')).toEqual({ period: 'monthly' })
})

test('an expiry is an instant in UTC', () => {
  const now = Date.parse('2026-11-27T12:00:00.000Z')
  expect(instantOf({ choice: '', at: '' }, now)).toBeUndefined()
  expect(instantOf({ choice: '3600000', at: '' }, now)).toBe('2026-11-27T13:00:00.000Z')
  expect(instantOf({ choice: 'at', at: '2026-12-01T08:30' }, now)).toBe('2026-12-01T08:30:00.000Z')
  expect(instantOf({ choice: 'at', at: '' }, now)).toBeUndefined()
})
