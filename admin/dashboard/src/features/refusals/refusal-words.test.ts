import { expect, test } from 'vitest'
import { measureWords, reasonWords } from './refusal-words'

test('a reason and its figures are words', () => {
  expect(reasonWords('cost_limit_reached')).toBe('Cost limit reached')
  expect(reasonWords('something_new')).toBe('something_new')
  expect(measureWords({ measure: 'cost_usd', used: 10.0123, limit: 10 })).toBe('$10.01 of $10.00')
  expect(measureWords({ measure: 'tokens', used: 1200, limit: 1000 })).toBe('1,200 tokens of 1,000 tokens')
})
