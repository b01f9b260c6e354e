// What every client of a call does in Node and in a browser, whatever its WebRTC: it asks for the call, says its turns once it
// has been heard to speak, and tells what it heard.

import { CALL_TURNS, Conversation, MODEL } from './conversation.mjs'
import { Ear } from './tone.mjs'

const SPEECH_MS = 800
// Longer than any call here takes.
const PATIENCE_MS = 45_000
// What was said last is still being heard.
const REST_MS = 300
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Asks for a call; returns the answer.
export async function answerTo(sdp, origin, key) {
  const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/sdp' }
  const answer = await fetch(`${origin}/v1/realtime/calls?model=${MODEL}`, { method: 'POST', headers, body: sdp })
  const text = await answer.text()
  if (answer.status !== 201) throw new Error(`${answer.status}: ${text}`)
  return { type: 'answer', sdp: text }
}

// A call under way. `send` takes a client event.
export class Call {
  ear = new Ear()
  #conversation = new Conversation(CALL_TURNS, 'output_audio_buffer.stopped')
  #send
  #isEnded = false
  #resolve
  #over = new Promise((resolve) => {
    this.#resolve = resolve
  })

  constructor(send) {
    this.#send = send
  }

  // Takes a server event.
  async hear(event) {
    const replies = this.#conversation.hear(event)
    if (this.#conversation.over) setTimeout(this.#resolve, REST_MS)
    if (replies.length) await pause(SPEECH_MS)
    if (!this.#isEnded) replies.forEach((reply) => this.#send(reply))
  }

  // The other end has ended it.
  ended() {
    this.#isEnded = true
    this.#resolve()
  }

  // Waits until all turns are over or the call is, but not for ever, has `leave` end it here, and prints what was heard.
  async finish(leave) {
    await Promise.race([this.#over, pause(PATIENCE_MS)])
    const is_ended = this.#isEnded
    this.#isEnded = true
    await leave()
    this.#conversation.tell({ is_ended, ...this.ear.heard })
  }
}
