#!/usr/bin/env bash
# @azure/ai-voicelive 1.1.0 (Node): `onDisconnected` is told code 1006 and "Connection lost during session" whatever a server has
# closed the session with: also of 4004 with a reason, and of a 1000 that ends it as it should. The server's code and reason
# are to be had nowhere, so an application can not tell a limit from a broken network.
#
# Seen on 2026-11-29. The close of the server, and what `onDisconnected` was told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent @azure/ai-voicelive@1.1.0 @azure/core-auth@1.10.1 ws@8.23.0
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
cat >expected <<'END'
4004 limit reached: 1006 Connection lost during session
1000 done: 1006 Connection lost during session
END
cat >try.mjs <<'END'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { VoiceLiveClient } from '@azure/ai-voicelive'
import { AzureKeyCredential } from '@azure/core-auth'
import { WebSocketServer } from 'ws'

async function told(code, reason) {
  const site = createServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem') })
  new WebSocketServer({ server: site }).on('connection', (socket) => setTimeout(() => socket.close(code, reason), 200))
  await new Promise((resolve) => site.listen(0, 'localhost', resolve))
  const client = new VoiceLiveClient(`https://localhost:${site.address().port}`, new AzureKeyCredential('k'))
  const session = client.createSession('gpt-realtime')
  const heard = new Promise((resolve) => session.subscribe({ onDisconnected: async (told) => resolve(told) }))
  await session.connect()
  return heard
}
for (const [code, reason] of [[4004, 'limit reached'], [1000, 'done']]) {
  const heard = await told(code, reason)
  console.log(`${code} ${reason}: ${heard.code} ${heard.reason}`)
}
process.exit(0)
END
NODE_EXTRA_CA_CERTS=cert.pem node try.mjs >seen
cat seen
diff expected seen && echo "as stated"
