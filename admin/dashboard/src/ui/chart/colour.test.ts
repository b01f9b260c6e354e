import { expect, test } from 'vitest'
import { coloursOf, distinct, learn } from './colour'

test('a name keeps its colour whatever stands beside it and in whatever order', () => {
  const [a, b] = coloursOf('model', ['gpt-realtime', 'gpt-realtime-mini'])
  expect(a).not.toBe(b)
  expect(coloursOf('model', ['gpt-realtime-mini', 'gpt-realtime'])).toEqual([b, a])
  const [c, again] = coloursOf('model', ['gpt-4o', 'gpt-realtime'])
  expect(again).toBe(a)
  expect([a, b]).not.toContain(c)
})

test('all others are grey and take no colour away', () => {
  const colours = coloursOf('org', ['acme', null])
  expect(colours[1]).toBe('var(--series-other)')
  expect(coloursOf('org', ['acme'])).toEqual([colours[0]])
})

test('up to eight names of a kind have eight colours', () => {
  const known = new Map<string, number>()
  learn(known, ['a', 'b', 'c'])
  learn(known, ['d', 'e', 'f', 'g', 'h'])
  expect(new Set(known.values()).size).toBe(8)
  for (let n = 0; n < 1000; n++) learn(known, [`user-${n}`])
  expect(known.size).toBe(256)
})

test('names that share a colour are told apart within one chart', () => {
  expect(distinct([3, 3, 1])).toEqual([3, 0, 1])
  expect(new Set(distinct([0, 0, 0, 0, 0, 0, 0, 0])).size).toBe(8)
})
