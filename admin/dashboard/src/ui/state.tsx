import type { ReactNode } from 'react'
import { Failure } from './notice'
import { Loading } from './skeleton'

export interface Asked<Data> {
  data: Data | undefined
  error: Error | null
  refetch: () => unknown
}

interface Props<Data> {
  of: Asked<Data>
  loading?: ReactNode
  children: (data: Data) => ReactNode
}

/** What was asked for, or that it is on its way, or why it is not here. Data that is merely old stays on show. */
export function Answer<Data>({ of, loading, children }: Props<Data>) {
  if (of.data !== undefined) return children(of.data)
  if (of.error) return <Failure message={of.error.message} retry={() => of.refetch()} />
  return loading ?? <Loading className="h-48 w-full p-4" />
}
