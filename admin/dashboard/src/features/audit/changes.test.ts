import { expect, test } from 'vitest'
import { changesOf } from './changes'

test('only what differs is a change', () => {
  expect(
    changesOf({ mode: 'warn', window: 'daily', maxCostUsd: 5 }, { mode: 'enforce', window: 'daily' }),
  ).toEqual([
    { name: 'mode', before: 'warn', after: 'enforce' },
    { name: 'maxCostUsd', before: '5', after: undefined },
  ])
  expect(changesOf(null, { reason: 'loop' })).toEqual([{ name: 'reason', before: undefined, after: 'loop' }])
  expect(changesOf(null, null)).toEqual([])
  expect(changesOf(1, 2)).toEqual([{ name: '', before: '1', after: '2' }])
})
