// How long a tone is heard, of each height that matters here: what the provider plays, and what a client says itself.

export const HEIGHTS_HZ = { tone_ms: 400, own_ms: 1_000 }
const LOUD = 0.003 // Of the highest amplitude 1, as a root of a mean square.

// Whether more than 90 % of what is heard is a tone of this height.
function isTone(samples, rate, hz) {
  let power = 0
  let real = 0
  let imaginary = 0
  samples.forEach((sample, index) => {
    const phase = (2 * Math.PI * hz * index) / rate
    power += sample * sample
    real += sample * Math.cos(phase)
    imaginary += sample * Math.sin(phase)
  })
  return power > samples.length * LOUD ** 2 && 2 * (real ** 2 + imaginary ** 2) > 0.9 * power * samples.length
}

// Sums up, in milliseconds, what of the sound that it takes is a tone.
export class Ear {
  heard = Object.fromEntries(Object.keys(HEIGHTS_HZ).map((name) => [name, 0]))

  // Takes a piece of sound, of 20 ms or so.
  take(samples, rate) {
    for (const [name, hz] of Object.entries(HEIGHTS_HZ)) {
      if (isTone(samples, rate, hz)) this.heard[name] += (1_000 * samples.length) / rate
    }
  }
}
