// A page's own call: RTCPeerConnection, a data channel, and a tone in the place of what the microphone hears.

import { answerTo, Call } from './call.mjs'
import { listen, spoken } from './page_sound.mjs'

export default async (origin, key) => {
  // To whom a page may listen, it may tell its addresses.
  await navigator.mediaDevices.getUserMedia({ audio: true })
  const peer = new RTCPeerConnection()
  const channel = peer.createDataChannel('oai-events')
  const call = new Call((event) => channel.send(JSON.stringify(event)))
  channel.onmessage = ({ data }) => call.hear(JSON.parse(data))
  channel.onclose = () => call.ended()
  peer.addTrack(spoken())
  // What no element plays is not mixed either.
  const speaker = Object.assign(new Audio(), { autoplay: true })
  peer.ontrack = ({ streams }) => {
    speaker.srcObject = streams[0]
    listen(speaker, call.ear)
  }
  await peer.setLocalDescription(await peer.createOffer())
  await peer.setRemoteDescription(await answerTo(peer.localDescription.sdp, origin.replace('ws', 'http'), key))
  await call.finish(() => peer.close())
}
