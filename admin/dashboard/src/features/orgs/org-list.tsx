'use client'
import { Building2 } from 'lucide-react'
import { GroupPage } from '../shared/group-page'

export function OrgList() {
  return (
    <GroupPage
      by="org"
      title="Orgs"
      note="Your customers or teams, as applications name them in x-org-id, or as a key binds them."
      icon={Building2}
      empty="No org used anything in this period. Send x-org-id with a connection, or bind a key to an org."
    />
  )
}
