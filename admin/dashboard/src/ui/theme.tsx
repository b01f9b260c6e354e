'use client'
import { Moon, Sun } from 'lucide-react'
import { useSyncExternalStore } from 'react'
import { Button } from './button'

/** The class on html is the truth; theme.js sets it first, and this remembers a choice. */
export function ThemeToggle() {
  const dark = useSyncExternalStore(watch, isDark, () => false)
  const choose = () => {
    document.documentElement.classList.toggle('dark', !dark)
    try {
      localStorage.setItem('theme', dark ? 'light' : 'dark')
    } catch {
      // Without storage the choice holds until the next page load.
    }
  }
  const Sign = dark ? Sun : Moon
  return (
    <Button
      look="quiet"
      size="icon"
      onClick={choose}
      aria-label={dark ? 'Use the light theme' : 'Use the dark theme'}
    >
      <Sign className="size-4" aria-hidden />
    </Button>
  )
}

const isDark = () => document.documentElement.classList.contains('dark')

function watch(tell: () => void) {
  const observer = new MutationObserver(tell)
  observer.observe(document.documentElement, { attributeFilter: ['class'] })
  return () => observer.disconnect()
}
