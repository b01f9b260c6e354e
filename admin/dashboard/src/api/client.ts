import createClient, { type Middleware } from 'openapi-fetch'
import createHooks from 'openapi-react-query'
import { type ApiError, errorOf, unreachable } from './error'
import type { paths } from './schema'

export type Paths = Translated<paths>

/** The API's paths as callers see them: every answer but a good one has become an `ApiError`. */
type Translated<P> = { [Path in keyof P]: { [Method in keyof P[Path]]: TranslatedCall<P[Path][Method]> } }
type TranslatedCall<Call> = Call extends { responses: infer R }
  ? Omit<Call, 'responses'> & {
      responses: {
        [Status in keyof R as Status extends 200 | 201 | 204 ? Status : never]: JsonOf<R[Status]>
      } & {
        default: { headers: object; content: { 'application/json': ApiError } }
      }
    }
  : Call

/** Some routes answer CSV as well; the dashboard links to that and never reads it. */
type JsonOf<Response> = Response extends { content: { 'application/json': infer Body } }
  ? { headers: object; content: { 'application/json': Body } }
  : Response

const translate: Middleware = {
  async onResponse({ response }) {
    if (!response.ok) throw await errorOf(response)
  },
  onError: unreachable,
}

/** Same origin, so the session cookie goes along and no address is configured. */
export const client = createClient<Paths>({ baseUrl: '/', credentials: 'same-origin' })
client.use(translate)

/** The client as hooks: a query's key is its method, path and parameters. */
export const api = createHooks(client)
