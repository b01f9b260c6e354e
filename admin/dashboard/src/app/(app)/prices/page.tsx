import type { Metadata } from 'next'
import { PriceList } from '@/features/prices/price-list'

export const metadata: Metadata = { title: 'Prices' }

export default function Page() {
  return <PriceList />
}
