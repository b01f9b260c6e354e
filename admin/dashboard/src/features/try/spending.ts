// What the caller has used and has left, as it may ask for itself.

export interface Spending {
  blocked: boolean
  used: { cost_usd: number; tokens: number }
  remaining: { cost_usd: number | null; tokens: number | null }
}

/** `null`: it cannot be told, such as with a key of the provider's own. */
export async function spending(address: string, key: string, user: string): Promise<Spending | null> {
  const headers: Record<string, string> = { authorization: `Bearer ${key}` }
  if (user) headers['x-user-id'] = user
  const answer = await fetch(`${address}/v1/usage/me`, { headers }).catch(() => null)
  return answer?.ok ? await answer.json() : null
}

/** Why a call has ended of which nobody has said why. */
export function whyOver(spending: Spending | null): string {
  if (spending?.blocked) return 'The user is blocked.'
  const { cost_usd, tokens } = spending?.remaining ?? { cost_usd: null, tokens: null }
  if (cost_usd === 0 || tokens === 0) return 'The limit is reached.'
  return 'Nobody has said why the call has ended. The provider may have ended it, an operator, or a limit by what a response seemed to cost.'
}
