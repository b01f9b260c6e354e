import { expect, test } from 'vitest'
import { change, duration, percent, point, relative, time, usd, usdPrice, usdShort } from './format'

test('dollars keep the digits that say something', () => {
  const rows: [number, string][] = [
    [0, '$0.00'],
    [0.0009, '$0.0009'],
    [0.00000123, '$0.0000012'],
    [0.5, '$0.5000'],
    [1, '$1.00'],
    [13647.482, '$13,647.48'],
  ]
  for (const [amount, written] of rows) expect(usd(amount)).toBe(written)
})

test('large type is exact while it fits', () => {
  expect(usdShort(999_999.99)).toBe('$999,999.99')
  expect(usdShort(1_250_000)).toBe('$1.3M')
})

test('a price is written as it was set', () => {
  expect([usdPrice(4), usdPrice(0.06), usdPrice(0.0375)]).toEqual(['$4.00', '$0.06', '$0.0375'])
})

test('a change needs something before it', () => {
  expect(change(5, 0)).toBeNull()
  expect(change(150, 100)).toEqual({ text: '50%', direction: 'up' })
  expect(change(50, 100)).toEqual({ text: '50%', direction: 'down' })
  expect(change(100, 100)).toEqual({ text: '0%', direction: 'flat' })
  expect(change(5000, 1)?.text).toBe('>999%')
})

test('times are UTC and say so', () => {
  expect(time('2026-11-27T05:28:41.000Z')).toBe('05:28:41 UTC')
  expect(point('2026-11-27T05:00:00.000Z', 'hour')).toBe('05:00')
  expect(point('2026-11-27T00:00:00.000Z', 'day')).toBe('27 Nov')
  expect(point('2026-11-01T00:00:00.000Z', 'month')).toBe('Nov 2026')
})

test('spans have one or two units', () => {
  expect([42, 137, 7265, 93_784].map(duration)).toEqual(['42 s', '2 min 17 s', '2 h 01 min', '1 d 2 h'])
  const now = Date.parse('2026-11-27T12:00:00.000Z')
  expect(relative('2026-11-27T11:57:00.000Z', now)).toBe('3 min ago')
  expect(relative('2026-11-27T14:00:00.000Z', now)).toBe('in 2 h')
  expect(relative('2026-11-27T12:00:01.000Z', now)).toBe('just now')
})

test('a share may pass a hundred', () => {
  expect([percent(104.56), percent(0), percent(33.333)]).toEqual(['104.6%', '0%', '33.3%'])
})
