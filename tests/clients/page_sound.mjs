// What a page says and hears of sound, by the browser's own mixer.

import { HEIGHTS_HZ } from './tone.mjs'

const RATE = 48_000
const PIECE = RATE / 50
// Runs where sound is mixed: passes on what comes, piece by piece.
const LISTENER = `registerProcessor('listener', class extends AudioWorkletProcessor {
  piece = []
  process([[samples = []]]) {
    this.piece.push(...samples)
    while (this.piece.length >= ${PIECE}) this.port.postMessage(Float32Array.from(this.piece.splice(0, ${PIECE})))
    return true
  }
})`

// A track of a tone, which a page may say in the place of a microphone's.
export function spoken() {
  const mixer = new AudioContext({ sampleRate: RATE })
  const tone = new OscillatorNode(mixer, { frequency: HEIGHTS_HZ.own_ms })
  const end = mixer.createMediaStreamDestination()
  tone.connect(new GainNode(mixer, { gain: 0.3 })).connect(end)
  tone.start()
  return end.stream.getAudioTracks()[0]
}

// Has an ear hear what an element plays.
export async function listen(element, ear) {
  const mixer = new AudioContext({ sampleRate: RATE })
  await mixer.audioWorklet.addModule(URL.createObjectURL(new Blob([LISTENER], { type: 'text/javascript' })))
  const listener = new AudioWorkletNode(mixer, 'listener')
  listener.port.onmessage = ({ data }) => ear.take(data, RATE)
  mixer.createMediaStreamSource(element.srcObject).connect(listener)
}
