// The one translator from whatever went wrong in a call to a sentence that an operator can act on.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

export const UNREACHABLE = 0

export async function errorOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null)
  return new ApiError(response.status, sentence(body) ?? bySelf(response))
}

export function unreachable(): ApiError {
  return new ApiError(UNREACHABLE, 'tokenist does not answer. Is it running, and is the network up?')
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'Something went wrong.'
}

/** The API writes `error` as a sentence, or as a list of what is wrong with which field. */
function sentence(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('error' in body)) return null
  const { error } = body
  if (typeof error === 'string') return error
  if (!Array.isArray(error)) return null
  return error.map(issue).filter(Boolean).join('; ') || null
}

function issue(one: unknown): string {
  if (typeof one !== 'object' || one === null || !('message' in one)) return ''
  const path = 'path' in one && Array.isArray(one.path) ? one.path.join('.') : ''
  return path ? `${path}: ${one.message}` : String(one.message)
}

function bySelf({ status, headers }: Response): string {
  const wait = headers.get('retry-after')
  if (status === 429) return `Too many requests.${wait ? ` Try again in ${wait} s.` : ' Try again soon.'}`
  if (status === 403) return 'Your role does not allow this.'
  if (status === 503) return 'tokenist cannot answer this right now (503).'
  return `tokenist answered ${status} without saying why.`
}
