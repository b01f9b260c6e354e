import type { Metadata } from 'next'
import { LoginList } from '@/features/logins/login-list'

export const metadata: Metadata = { title: 'Logins' }

export default function Page() {
  return <LoginList />
}
