#!/usr/bin/env bash
# hume 0.16.0 (Node): `empathicVoice.chat.connect()` dials again after every close but 1000, also after a code of the
# application's own range (4000 to 4999) with which a server has said that it will not serve; 30 times by default, and each
# dial would be a new, billed conversation if it were let in.
#
# Seen on 2026-11-29: three dials in ten seconds. Whether it was dialled more than once, and the codes that it was told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent hume@0.16.0 ws@8.23.0
cat >expected <<'END'
true 4004
END
cat >try.mjs <<'END'
import { HumeClient } from 'hume'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
let dials = 0
server.on('connection', (socket) => {
  dials++
  socket.close(4004, 'limit reached')
})
await new Promise((resolve) => server.on('listening', resolve))
const evi = `ws://127.0.0.1:${server.address().port}`
const client = new HumeClient({ apiKey: 'k', environment: { base: evi.replace('ws', 'http'), evi, tts: evi, stream: evi } })
const codes = new Set()
const socket = client.empathicVoice.chat.connect({})
socket.on('close', (event) => codes.add(event.code))
socket.on('error', () => {})
setTimeout(() => {
  console.log(dials > 1, ...codes)
  process.exit(0)
}, 10_000)
END
node try.mjs >seen
cat seen
diff expected seen && echo "as stated"
