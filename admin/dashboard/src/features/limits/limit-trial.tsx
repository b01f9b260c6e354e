import type { LimitTrial } from '@/api/types'
import { count, dateTime, usd } from '@/ui/format'
import { Note } from '@/ui/notice'
import { Progress } from '@/ui/progress'
import { limitWords } from './limit-words'

const isUsedUp = ({ withIt }: LimitTrial) => withIt.state === 'reached' && withIt.limit.mode === 'enforce'

/** Whether somebody would be refused from now on, or cut off. */
export const refuses = (trial: LimitTrial) => isUsedUp(trial) || trial.sessionsEnded > 0

/** What would come of a limit that ends somebody. */
export function TrialNote({ trial }: { trial: LimitTrial }) {
  return isUsedUp(trial) ? <UsedUp trial={trial} /> : <OtherModels trial={trial} />
}

function OtherModels({ trial: { withIt, liveSessions, sessionsEnded } }: { trial: LimitTrial }) {
  return (
    <>
      <Note tone="bad">
        <strong className="font-semibold">Live sessions use other models.</strong>{' '}
        {`${count(sessionsEnded)} of ${count(liveSessions)} end at once with close code 4003.`}
      </Note>
      <span className="font-medium">{limitWords(withIt.limit)}</span>
    </>
  )
}

/** What would come of a limit that is used up already. */
function UsedUp({ trial: { withIt, liveSessions, sessionsEnded } }: { trial: LimitTrial }) {
  return (
    <>
      <Note tone="bad">
        <strong className="font-semibold">This limit is used up already.</strong>{' '}
        {sessionsEnded > 0
          ? `${sessionsEnded === 1 ? 'One live session ends' : `${count(sessionsEnded)} live sessions end`} at once with close code 4004, and new ones are refused`
          : `${liveSessions === 0 ? 'No session is live; new' : 'New'} ones are refused`}
        {withIt.resetsAt ? ` until ${dateTime(withIt.resetsAt)}` : ''}.
      </Note>
      <div className="grid gap-1.5">
        <span className="font-medium">{limitWords(withIt.limit)}</span>
        <Progress value={withIt.percent ?? 100} state={withIt.state} label="Used of the new limit" />
        <span className="text-ink-3 text-xs">
          {usd(withIt.used.costUsd)} and {count(withIt.used.tokens)} tokens used. It can be undone from the
          audit, but sessions that have ended stay so.
        </span>
      </div>
    </>
  )
}
