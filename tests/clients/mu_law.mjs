// PCMU: sound of 8 kHz, a byte a sample (ITU-T G.711).

export const RATE = 8_000
const BIAS = 0x84
const PEAK = 32_768

// A sample between -1 and 1.
export function decode(byte) {
  const [exponent, mantissa] = [(~byte >> 4) & 7, ~byte & 15]
  const magnitude = ((((mantissa << 3) + BIAS) << exponent) - BIAS) / PEAK
  return byte & 0x80 ? magnitude : -magnitude
}

export function encode(sample) {
  const magnitude = Math.min(Math.round(Math.abs(sample) * PEAK), 32_635) + BIAS
  const exponent = 24 - Math.clz32(magnitude)
  const mantissa = (magnitude >> (exponent + 3)) & 15
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff
}
