import { expect, test } from 'vitest'
import { groupsOf, toggled } from './usage-query'

test('groups are known, each once, at most three', () => {
  expect(groupsOf('')).toEqual(['model'])
  expect(groupsOf('org,nonsense,org,user')).toEqual(['org', 'user'])
  expect(groupsOf('model,feature,org,user')).toEqual(['model', 'feature', 'org'])
})

test('a fourth group takes the place of the oldest', () => {
  expect(toggled(['model', 'feature', 'org'], 'user')).toEqual(['feature', 'org', 'user'])
  expect(toggled(['model', 'feature'], 'model')).toEqual(['feature'])
})
