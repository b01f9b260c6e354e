#!/usr/bin/env bash
# @google/genai 3.3.0 (Node, live sessions): what is sent after the server has closed the session is swallowed:
# `sendClientContent` neither throws nor tells a callback. An application that was stopped in the middle of a conversation
# and does not watch `onclose` goes on asking into nothing, and sees no error for it.
#
# Seen on 2026-11-29. The close code that `onclose` was told, then what sending threw.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent @google/genai@3.3.0 ws@8.23.0
cat >expected <<'END'
4004 nothing
END
cat >try.mjs <<'END'
import { GoogleGenAI } from '@google/genai'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
server.on('connection', (socket) => {
  socket.once('message', () => {
    socket.send(JSON.stringify({ setupComplete: {} }))
    setTimeout(() => socket.close(4004, 'limit reached'), 100)
  })
})
await new Promise((resolve) => server.on('listening', resolve))
const ai = new GoogleGenAI({ apiKey: 'k', httpOptions: { baseUrl: `http://127.0.0.1:${server.address().port}` } })
let told
const closed = new Promise((resolve) => (told = resolve))
const session = await ai.live.connect({ model: 'm', callbacks: { onmessage() {}, onclose: (event) => told(event.code) } })
const code = await closed
let thrown = 'nothing'
try {
  await session.sendClientContent({ turns: 'hello' })
  await new Promise((resolve) => setTimeout(resolve, 200))
} catch (error) {
  thrown = error.name
}
console.log(code, thrown)
process.exit(0)
END
node try.mjs >seen
cat seen
diff expected seen && echo "as stated"
