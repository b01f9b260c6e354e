#!/usr/bin/env bash
# @deepgram/sdk 5.13.0 (Node): a live connection dials again after every close but 1000, also after a code of the application's own
# range (4000 to 4999) with which a server has said that it will not serve; 30 times by default, and each dial would be a new,
# billed session if it were let in. `reconnectAttempts: 0` or `shouldReconnect: ({ code }) => code < 4000` in what `connect`
# is given ends that.
#
# Seen on 2026-11-29: four dials in twelve seconds. Whether it was dialled more than once, and the codes that it was told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent @deepgram/sdk@5.13.0 ws@8.23.0
cat >expected <<'END'
by default: true 4004
told not to: false 4004
END
cat >try.mjs <<'END'
import { DeepgramClient } from '@deepgram/sdk'
import { WebSocketServer } from 'ws'

async function dialled(options) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  let dials = 0
  server.on('connection', (socket) => {
    dials++
    setTimeout(() => socket.close(4004, 'limit reached'), 100)
  })
  await new Promise((resolve) => server.on('listening', resolve))
  const ws = `ws://127.0.0.1:${server.address().port}`
  const http = ws.replace('ws', 'http')
  const client = new DeepgramClient({ apiKey: 'k', environment: { base: http, production: ws, agent: ws, agentRest: http } })
  const codes = new Set()
  const socket = await client.listen.v1.connect({ model: 'nova-3', Authorization: 'Token k', ...options })
  socket.on('close', (event) => codes.add(event.code))
  socket.on('error', () => {})
  socket.connect()
  await new Promise((resolve) => setTimeout(resolve, 10_000))
  return [dials > 1, ...codes].join(' ')
}
const [byDefault, toldNotTo] = await Promise.all([
  dialled({}),
  dialled({ shouldReconnect: ({ code }) => code < 4000 }),
])
console.log(`by default: ${byDefault}\ntold not to: ${toldNotTo}`)
process.exit(0)
END
node try.mjs >seen
cat seen
diff expected seen && echo "as stated"
