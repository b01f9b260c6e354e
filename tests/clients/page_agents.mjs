// @openai/agents-realtime in a browser: the key goes as a subprotocol, and tells who speaks.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime'
import { Conversation, MODEL } from './conversation.mjs'

export default (origin, key) =>
  new Promise((resolve, reject) => {
    const conversation = new Conversation()
    // A key that is no `ek_…` is let out of a page only so.
    const transport = new OpenAIRealtimeWebSocket({ useInsecureApiKey: !key.startsWith('ek_') })
    // It names a model in each of its `session.update`s.
    const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport, model: MODEL })
    session.on('transport_event', (event) => {
      for (const reply of conversation.hear(event)) transport.sendEvent(reply)
      if (conversation.over) session.close()
    })
    session.on('error', ({ error }) => conversation.raised({ message: String(error), error: error?.error }))
    transport.on('connection_change', (status) => {
      if (status !== 'disconnected') return
      conversation.closed(null) // It does not tell the code.
      resolve()
    })
    session.connect({ apiKey: key, url: `${origin}/v1/realtime?model=${MODEL}` }).catch(reject)
  })
