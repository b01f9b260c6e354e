// Signing in: a cookie that names the role. The rules are those of the contract, the secrets are not secret.
import { logins, PASSWORD } from './state.mjs'

const WRONG_MAX = 5
let wrong = 0

export function meOf(cookies) {
  const who = cookies.tokenist_session
  if (who === 'token')
    return { userId: null, email: null, displayName: null, orgId: null, tier: 'free', role: 'owner' }
  const login = logins.find((each) => each.id === who)
  return login
    ? {
        userId: login.id,
        email: login.email,
        displayName: login.displayName,
        orgId: null,
        tier: 'free',
        role: login.role,
      }
    : null
}

export function actorOf(me) {
  return me.userId
    ? { kind: 'login', id: me.userId, name: me.displayName ?? me.email }
    : { kind: 'token', id: null, name: 'operator' }
}

/** A reply to a sign-in route, or nothing if the path is none. */
export function signing(method, path, body) {
  if (method !== 'POST') return null
  if (path === '/auth/logout')
    return { status: 204, cookie: 'tokenist_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict' }
  if (path !== '/auth/session' && path !== '/auth/login') return null
  if (wrong >= WRONG_MAX) {
    setTimeout(() => (wrong = 0), 10_000).unref()
    return { status: 429, body: { error: 'Too many attempts; try again in 10 s' }, retryAfter: 10 }
  }
  const login = logins.find((each) => each.email === body.email && body.password === PASSWORD)
  const id =
    path === '/auth/session'
      ? String(body.token ?? '').startsWith('ug_')
        ? 'token'
        : null
      : (login?.id ?? null)
  if (!id) {
    wrong += 1
    return {
      status: 401,
      body: { error: path === '/auth/session' ? 'Invalid API key' : 'Invalid email or password' },
    }
  }
  wrong = 0
  const me = meOf({ tokenist_session: id })
  return {
    status: 200,
    body: path === '/auth/session' ? me : { user: me, token: 'mock' },
    cookie: `tokenist_session=${id}; Path=/; HttpOnly; SameSite=Strict`,
  }
}

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
/** Why this login may not do this, or nothing. */
export function refusal(me, method, path) {
  if (!me) return [401, { error: 'Authorization header required' }]
  if (me.role === 'member' && path.startsWith('/admin'))
    return [403, { error: 'Your role does not allow this' }]
  if (path.startsWith('/admin/logins') && me.role !== 'owner')
    return [403, { error: 'Only owners manage logins' }]
  if (!UNSAFE.has(method)) return null
  if (me.role === 'viewer') return [403, { error: 'Viewers change nothing' }]
  if (path.startsWith('/admin/prices') && me.role !== 'owner')
    return [403, { error: 'Only owners change prices' }]
  return null
}
