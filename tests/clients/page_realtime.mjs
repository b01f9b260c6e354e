// A browser's own WebSocket, which can set no header: the key, which tells who speaks, goes as a subprotocol.

import { Conversation, MODEL } from './conversation.mjs'

const text = (data) => (typeof data === 'string' ? data : new TextDecoder().decode(data))

export default (origin, key) =>
  new Promise((resolve) => {
    const conversation = new Conversation()
    const protocols = ['realtime', `openai-insecure-api-key.${key}`]
    const socket = new WebSocket(`${origin}/v1/realtime?model=${MODEL}`, protocols)
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => {
      for (const reply of conversation.hear(JSON.parse(text(data)))) socket.send(JSON.stringify(reply))
      if (conversation.over) socket.close()
    }
    socket.onclose = ({ code, reason }) => {
      conversation.closed(code, reason)
      resolve()
    }
  })
