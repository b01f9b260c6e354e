'use client'
import { Puzzle } from 'lucide-react'
import { GroupPage } from '../shared/group-page'

export function FeatureList() {
  return (
    <GroupPage
      by="feature"
      title="Features"
      note="Parts of your application, as it names them in x-feature."
      icon={Puzzle}
      empty="No feature used anything in this period. Send x-feature with a connection."
    />
  )
}
