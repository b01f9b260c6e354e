#!/usr/bin/env bash
# @openai/agents-realtime 0.20.0 in a browser: `OpenAIRealtimeWebRTC` does not notice that a provider has closed the call's data
# channel, which is all that events pass by. It stays "connected", tells no change and no error, and what it is given to send
# raises. Whoever wants to know has to listen to `transport.connectionState.dataChannel` itself.
#
# Seen on 2026-11-30, in Chromium, before a provider that is another RTCPeerConnection of the same page. Of the channel and of the
# transport, three seconds after the channel was closed: their states, the changes and errors that were told, and whether sending
# raises.
set -euo pipefail
chromium=${CHROMIUM:-$(command -v chromium || command -v google-chrome)} || { echo "Chromium is needed" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent @openai/agents-realtime@0.20.0 zod@4.6.7 esbuild@0.28.2 playwright-core@1.65.1
cat >expected <<'END'
open connected 0 false
closed connected 0 true
END
cat >page.mjs <<'END'
import { OpenAIRealtimeWebRTC } from '@openai/agents-realtime'

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export default async () => {
  const opened = []
  globalThis.fetch = async (_, { body }) => {
    const provider = new RTCPeerConnection()
    provider.ondatachannel = ({ channel }) => opened.push(channel)
    const sdp = body instanceof FormData ? body.get('sdp') : body
    await provider.setRemoteDescription({ type: 'offer', sdp })
    await provider.setLocalDescription()
    while (provider.iceGatheringState !== 'complete') await pause(50)
    const headers = { location: '/v1/realtime/calls/rtc_1' }
    return new Response(provider.localDescription.sdp, { status: 201, headers })
  }
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: 'https://provider.example/v1/realtime/calls' })
  let told = 0
  await transport.connect({ apiKey: 'ek_of_nobody', model: 'gpt-realtime' })
  transport.on('connection_change', () => told++)
  transport.on('error', () => told++)
  const channel = transport.connectionState.dataChannel
  const look = () => {
    let raises = false
    try {
      transport.sendEvent({ type: 'response.cancel' })
    } catch {
      raises = true
    }
    console.log(channel.readyState, transport.status, told, raises)
  }
  while (opened.length === 0 || channel.readyState !== 'open') await pause(50)
  look()
  opened[0].close()
  await pause(3_000)
  look()
}
END
cat >try.mjs <<'END'
import { createServer } from 'node:http'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const bundle = await build({ entryPoints: ['page.mjs'], bundle: true, globalName: 'program', write: false, logLevel: 'error' })
const site = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'))
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve))
const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: [
    '--no-sandbox',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    '--allow-loopback-in-peer-connection',
  ],
})
const page = await browser.newPage()
page.on('console', (message) => message.type() === 'log' && console.log(message.text()))
await page.goto(`http://127.0.0.1:${site.address().port}/`)
await page.addScriptTag({ content: bundle.outputFiles[0].text })
await page.evaluate(() => program.default())
await browser.close()
site.close()
END
node try.mjs "$chromium" >seen
cat seen
diff expected seen && echo "as stated"
