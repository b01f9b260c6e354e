import { expect, test } from 'vitest'
import { endIn, said } from './call'

test('an error that answers an event is not why a call is over', () => {
  const message = 'Conversation already has an active response.'
  for (const { event_id } of said('Good day')) {
    expect(event_id).toBeTruthy()
    expect(endIn({ type: 'error', error: { message, event_id } })).toBeNull()
  }
  expect(endIn({ type: 'error', error: { message: 'The limit is reached.', event_id: null } })).toBe(
    'The limit is reached.',
  )
  expect(endIn({ type: 'error', error: { message: 'The limit is reached.' } })).toBe('The limit is reached.')
  const late = {
    message: 'Cancellation failed: no active response found',
    code: 'response_cancel_not_active',
  }
  expect(endIn({ type: 'error', error: { ...late, event_id: null } })).toBeNull()
  expect(endIn({ type: 'response.done' })).toBeNull()
})
