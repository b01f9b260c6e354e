import type { NextConfig } from 'next'

// The binary embeds `out/` and serves it on the API's own origin, so there is no server half:
// pages are files (`/users` is `users.html`) and everything that varies is asked from the API.
// `TOKENIST_URL` sends the API's paths of `next dev` to a running tokenist or to the mock.
const api = process.env.TOKENIST_URL ?? 'http://127.0.0.1:8091'

const config: NextConfig = {
  ...(process.env.NODE_ENV === 'development'
    ? { rewrites: async () => ['admin', 'auth', 'health', 'ready'].map(forward) }
    : { output: 'export' }),
  poweredByHeader: false,
  reactStrictMode: true,
  devIndicators: false,
}

function forward(path: string) {
  return { source: `/${path}/:rest*`, destination: `${api}/${path}/:rest*` }
}

export default config
