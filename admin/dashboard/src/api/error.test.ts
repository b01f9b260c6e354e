import { expect, test } from 'vitest'
import { errorOf } from './error'

const answer = (status: number, body: string, headers = {}) =>
  errorOf(new Response(body, { status, headers }))

test('an error is a sentence, whatever came', async () => {
  expect((await answer(409, '{"error":"Email already registered"}')).message).toBe('Email already registered')
  const issues =
    '{"error":[{"path":["maxCostUsd"],"message":"must not be negative","code":"too_small"},{"path":[],"message":"is empty"}]}'
  expect((await answer(400, issues)).message).toBe('maxCostUsd: must not be negative; is empty')
  expect((await answer(429, '', { 'retry-after': '7' })).message).toBe('Too many requests. Try again in 7 s.')
  expect((await answer(502, '<html>')).message).toContain('502')
})
