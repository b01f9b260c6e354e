/** Where to go after signing in. Only pages of this origin: an address from outside must not lead elsewhere. */
export function nextOf(search: string): string {
  const next = new URLSearchParams(search).get('next') ?? '/'
  // What browsers read as another host: two slashes, or a backslash for one of them, control characters between.
  const ours = /^\/(?![/\\])[^\p{Cc}\\]*$/u.test(next)
  return ours && !next.startsWith('/signin') ? next : '/'
}

export function goOn() {
  window.location.assign(nextOf(window.location.search))
}
