import { ChevronLeft, ChevronRight } from 'lucide-react'
import { Button } from './button'

interface Props {
  text: string
  onPrevious?: () => void
  onNext?: () => void
}

/** A step without a handler is one that leads nowhere. */
export function Pager({ text, onPrevious, onNext }: Props) {
  if (!onPrevious && !onNext) return <p className="border-t px-4 py-2.5 text-ink-3 text-xs sm:px-5">{text}</p>
  return (
    <nav aria-label="Pages" className="flex items-center justify-between gap-3 border-t px-4 py-2 sm:px-5">
      <p className="text-ink-3 text-xs tabular-nums">{text}</p>
      <div className="flex gap-2">
        <Button size="small" disabled={!onPrevious} onClick={onPrevious}>
          <ChevronLeft aria-hidden className="size-3.5" /> Previous
        </Button>
        <Button size="small" disabled={!onNext} onClick={onNext}>
          Next <ChevronRight aria-hidden className="size-3.5" />
        </Button>
      </div>
    </nav>
  )
}
