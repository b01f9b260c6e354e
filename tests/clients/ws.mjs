// The `ws` package, compression and all, or with NATIVE the runtime's own WebSocket: ws.mjs BASE_URL USER, with the key in
// OPENAI_API_KEY.

import ws from 'ws'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()
const WebSocket = process.env.NATIVE ? globalThis.WebSocket : ws

const socket = new WebSocket(`${baseURL.replace('http', 'ws')}/realtime?model=${MODEL}`, {
  headers: { Authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'x-user-id': user },
})
socket.onmessage = ({ data }) => {
  for (const reply of conversation.hear(JSON.parse(data))) socket.send(JSON.stringify(reply))
  if (conversation.over) socket.close()
}
socket.onclose = ({ code }) => conversation.closed(code)
