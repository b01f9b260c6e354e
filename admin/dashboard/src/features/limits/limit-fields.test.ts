import { expect, test } from 'vitest'
import type { Limit } from '@/api/types'
import { fieldsOf, requestOf } from './limit-fields'

const limit: Limit = {
  maxCostUsd: 5,
  maxTotalTokens: null,
  window: 'daily',
  mode: 'warn',
  maxSessions: 2,
  onRedisDown: 'refuse',
  models: ['gpt-realtime', 'gpt-4o*'],
}

test('a limit that is not edited is asked for as it was', () => {
  const asked = { ...limit, maxTotalTokens: undefined }
  expect(requestOf(fieldsOf(limit))).toEqual(asked)
  expect(requestOf(fieldsOf({ ...limit, models: null }))).toEqual({ ...asked, models: undefined })
})

test('models are named between commas, and none allows any', () => {
  const asked = (models: string) => requestOf({ ...fieldsOf(), models }).models
  expect(asked(' gpt-realtime,gpt-4o* , ')).toEqual(['gpt-realtime', 'gpt-4o*'])
  expect([asked(''), asked(' , ')]).toEqual([undefined, undefined])
})
