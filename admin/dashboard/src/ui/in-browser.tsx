'use client'
import { type ReactNode, useSyncExternalStore } from 'react'

/** What only the browser can draw: a static page knows neither its address's filters nor any data. */
export function InBrowser({ meanwhile, children }: { meanwhile: ReactNode; children: ReactNode }) {
  return useSyncExternalStore(watch, inBrowser, onServer) ? children : meanwhile
}

const watch = () => () => {}
const inBrowser = () => true
const onServer = () => false
