// What every client of OpenAI Realtime here says in Node and in a browser, and what it makes of what it hears.

export const MODEL = globalThis.process?.env.MODEL ?? 'gpt-realtime'

// Also for browsers, which have no Buffer.
export const silence = (bytes) => btoa('\0'.repeat(bytes))
const append = (bytes) => ({ type: 'input_audio_buffer.append', audio: silence(bytes) })
const commit = { type: 'input_audio_buffer.commit' }
const say = (text) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})
const answerTool = (output) => ({
  type: 'conversation.item.create',
  item: { type: 'function_call_output', call_id: 'call_1', output: JSON.stringify(output) },
})
const listen = {
  type: 'session.update',
  session: {
    type: 'realtime',
    audio: { input: { turn_detection: null, transcription: { model: 'gpt-4o-mini-transcribe' } } },
  },
}
const respond = (response) => ({ type: 'response.create', response })

// On a call what is spoken goes beside these: a spoken turn that is transcribed, and a written one.
export const CALL_TURNS = [
  [listen, commit, respond()],
  [say('Zażółć gęślą jaźń, 你好'), respond()],
]

// A spoken turn that is transcribed, a written one, one with a tool's output, a long spoken one.
export const TURNS = [
  [listen, ...Array.from({ length: 5 }, () => append(4800)), commit, respond()],
  [say('Zażółć gęślą jaźń, 你好'), respond({ output_modalities: ['text'] })],
  [answerTool({ celsius: 21 }), respond()],
  [append(480_000), commit, respond()],
]

// Sums the usage that is heard, and says the next turn when one is over: when an event of the kind `last` comes.
export class Conversation {
  over = false
  #turns
  #last
  #result = { input_tokens: 0, output_tokens: 0, responses: 0, error: null, close_code: null, close_reason: null }

  constructor(turns = TURNS, last = 'response.done') {
    this.#turns = [...turns]
    this.#last = last
  }

  // Takes a server event; returns the client events to answer with.
  hear(event) {
    const result = this.#result
    if (event.type === 'error') result.error = event.error.code
    if (event.type === 'conversation.item.input_audio_transcription.completed') this.#add(event.usage)
    if (event.type === 'response.done') {
      // Some providers state it beside the response, where `event.response.usage` is empty.
      this.#add(event.usage ?? event.response.usage)
      result.responses += 1
    }
    const isLast = event.type === this.#last
    if (isLast) this.over = this.#turns.length === 0
    const maySpeak = event.type === 'session.created' || isLast
    return (maySpeak && this.#turns.shift()) || []
  }

  // The SDK has raised an error, which holds that of the event.
  raised({ message, error }) {
    this.#result.raised ??= { text: message, ...error }
  }

  // The connection is closed: prints what was heard, and the code and reason unless the close was ours.
  closed(code, reason = null) {
    if (!this.over) Object.assign(this.#result, { close_code: code, close_reason: reason })
    this.tell()
  }

  // Prints what was heard, and this beside it.
  tell(more) {
    console.log(JSON.stringify({ ...this.#result, ...more }))
  }

  #add(usage) {
    this.#result.input_tokens += usage?.input_tokens ?? 0
    this.#result.output_tokens += usage?.output_tokens ?? 0
  }
}
