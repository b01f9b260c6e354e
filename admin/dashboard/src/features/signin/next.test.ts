import { expect, test } from 'vitest'
import { nextOf } from './next'

test('signing in leads to a page of ours and nowhere else', () => {
  const rows: [string, string][] = [
    ['', '/'],
    ['?next=%2Fusage%3Fby%3Dorg', '/usage?by=org'],
    ['?next=https%3A%2F%2Fevil.test', '/'],
    ['?next=%2F%2Fevil.test', '/'],
    ['?next=%2F%5Cevil.test', '/'],
    ['?next=%2F%09%2Fevil.test', '/'],
    ['?next=javascript%3Aalert(1)', '/'],
    ['?next=%2Fsignin', '/'],
  ]
  for (const [search, next] of rows) expect(nextOf(search)).toBe(next)
})
