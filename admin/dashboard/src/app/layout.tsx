import { GeistMono } from 'geist/font/mono'
import { GeistSans } from 'geist/font/sans'
import type { Metadata, Viewport } from 'next'
import type { ReactNode } from 'react'
import { ApiProvider } from '@/api/provider'
import './globals.css'

export const metadata: Metadata = {
  title: { default: 'tokenist', template: '%s · tokenist' },
  description: 'Usage, cost and limits of your realtime AI users',
  robots: { index: false },
}
export const viewport: Viewport = { width: 'device-width', initialScale: 1 }

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    // The theme's class is set by theme.js before React sees the page.
    <html lang="en" suppressHydrationWarning className={`${GeistSans.variable} ${GeistMono.variable}`}>
      <head>
        <script src="/theme.js" />
      </head>
      <body>
        <ApiProvider>{children}</ApiProvider>
      </body>
    </html>
  )
}
