import { expect, test } from 'vitest'
import { guessWords } from './cost'

test('what is guessed of an amount is said with its sum', () => {
  expect(guessWords(0, 0)).toBeNull()
  expect(guessWords(0.5, 0)).toBe('of which $0.5000 estimated')
  expect(guessWords(0, 2)).toBe('of which $2.00 at the fallback price')
  expect(guessWords(1, 2)).toBe('of which $1.00 estimated, $2.00 at the fallback price')
})
