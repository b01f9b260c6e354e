// Whose traffic there is. Some are named so as to break out of a page, of an address, or of a spreadsheet's cell.

export const NASTY = {
  user: '<img src=x onerror=alert(1)>',
  org: '<b onmouseover=alert(2)>org & sons</b>',
  feature: '"><script>alert(3)</script>',
  reason: '<svg onload=alert(4)> {{7*7}}',
  key: '<iframe src=javascript:alert(5)>',
  person: '</title><script>alert(6)</script>',
}

const MODEL = 'gpt-realtime'
const MINI = 'gpt-realtime-mini'

/** Sessions that take turns for as long as the journeys last. */
export const CAST = [
  { user: 'ann', org: 'acme', feature: 'support', model: MODEL },
  { user: 'ann', org: 'acme', feature: 'sales', model: MINI },
  { user: 'bob@example.test', org: 'acme', feature: 'support', model: MINI },
  { user: 'a/b?c=d#e&f', org: 'globex', feature: 'sales', model: MODEL },
  { user: 'doe, jane', org: 'globex', feature: 'sales', model: MINI },
  { user: '=1+1', org: 'globex', feature: 'support', model: MODEL },
  { user: NASTY.user, org: NASTY.org, feature: NASTY.feature, model: MODEL },
  { user: 'nobodys', model: MODEL },
]
