// The AI SDK's realtime session in a browser. What an application's endpoint for tokens answers says where it dials, and the key
// that goes as a subprotocol and tells who speaks.

import { createOpenAI } from '@ai-sdk/openai'
import { Experimental_AbstractRealtimeSession as RealtimeSession } from 'ai'

export const conversation = (model) => (origin, key) =>
  new Promise((resolve) => {
    const setup = { token: key, url: `${origin}/v1/realtime?model=${model.modelId}` }
    const result = { input_tokens: 0, output_tokens: 0, responses: 0, errors: [] }
    const turns = ['Zażółć gęślą jaźń, 你好', 'How warm is it?', 'And tomorrow?', 'Thank you.']

    class Session extends RealtimeSession {
      setState(name, value) {
        this.state = { ...this.state, [name]: value }
        if (name === 'status' && ['disconnected', 'error'].includes(value)) setTimeout(end, 100)
      }
    }
    const session = new Session({
      model,
      api: { token: `data:application/json,${encodeURIComponent(JSON.stringify(setup))}` },
      onEvent: hear,
      onError: ({ message }) => result.errors.push(message),
    })

    function hear({ type, raw }) {
      if (type === 'response-done') {
        const usage = raw.usage ?? raw.response.usage
        result.input_tokens += usage.input_tokens
        result.output_tokens += usage.output_tokens
        result.responses += 1
      }
      if (!['session-updated', 'response-done'].includes(type)) return
      const next = turns.shift()
      next ? session.sendTextMessage(next) : session.disconnect()
    }

    function end() {
      console.log(JSON.stringify(result))
      resolve()
    }
    session.connect()
  })

export default conversation(createOpenAI({ apiKey: 'unused' }).experimental_realtime('gpt-realtime'))
