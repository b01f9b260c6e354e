'use client'
import { useState } from 'react'
import { Logo } from '@/ui/logo'
import { Segmented } from '@/ui/segmented'
import { ThemeToggle } from '@/ui/theme'
import { PasswordForm } from './password-form'
import { TokenForm } from './token-form'

const WAYS = [
  { value: 'password', label: 'Email and password' },
  { value: 'token', label: 'Operator’s token' },
] as const

export function SignIn() {
  const [way, setWay] = useState<'password' | 'token'>('password')
  return (
    <main className="relative grid min-h-dvh place-items-center px-4 py-10">
      <div className="absolute top-4 right-4">
        <ThemeToggle />
      </div>
      <div className="w-full max-w-sm">
        <div className="mb-8 flex justify-center">
          <Logo />
        </div>
        <div className="rounded-2xl border bg-panel p-6 shadow-card">
          <h1 className="font-semibold text-lg tracking-tight">Sign in</h1>
          <p className="mt-0.5 mb-5 text-ink-2">Usage, cost and limits of your users.</p>
          <div className="mb-5">
            <Segmented label="Sign in with" value={way} options={WAYS} onChange={setWay} />
          </div>
          {way === 'password' ? <PasswordForm /> : <TokenForm />}
        </div>
      </div>
    </main>
  )
}
