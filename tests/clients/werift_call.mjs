// werift: werift_call.mjs ORIGIN KEY. It decodes no sound, so it offers nothing but PCMU.

import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket } from 'werift'
import { answerTo, Call } from './call.mjs'
import { decode, encode, RATE } from './mu_law.mjs'
import { HEIGHTS_HZ } from './tone.mjs'

const [origin, key] = process.argv.slice(2)
const PACKET_MS = 20
const SAMPLES = (RATE * PACKET_MS) / 1_000
const PCMU = { mimeType: 'audio/PCMU', clockRate: RATE, channels: 1, payloadType: 0 }

// Whole periods, so that one packet goes on where another ends.
const tone = (_, index) => encode(0.3 * Math.sin((2 * Math.PI * HEIGHTS_HZ.own_ms * index) / RATE))
const payload = Buffer.from(Array.from({ length: SAMPLES }, tone))

const peer = new RTCPeerConnection({ codecs: { audio: [new RTCRtpCodecParameters(PCMU)] }, iceServers: [] })
const channel = peer.createDataChannel('oai-events')
const call = new Call((event) => channel.send(JSON.stringify(event)))
channel.onMessage.subscribe((data) => call.hear(JSON.parse(data.toString())))
channel.stateChanged.subscribe((state) => state === 'closed' && call.ended())
peer.connectionStateChange.subscribe((state) => ['closed', 'failed'].includes(state) && call.ended())

const track = new MediaStreamTrack({ kind: 'audio' })
const line = peer.addTransceiver(track, { direction: 'sendrecv' })
line.onTrack.subscribe((track) =>
  track.onReceiveRtp.subscribe((packet) => call.ear.take([...packet.payload].map(decode), RATE)),
)
await peer.setLocalDescription(await peer.createOffer())
await peer.setRemoteDescription(await answerTo(peer.localDescription.sdp, origin, key))
let sequenceNumber = 0
setInterval(() => {
  sequenceNumber += 1
  const timestamp = sequenceNumber * SAMPLES
  track.writeRtp(new RtpPacket(new RtpHeader({ payloadType: 0, sequenceNumber, timestamp, ssrc: 1 }), payload))
}, PACKET_MS)
await call.finish(() => peer.close())
process.exit()
