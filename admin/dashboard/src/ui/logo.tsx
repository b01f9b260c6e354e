export function Logo() {
  return (
    <span className="flex items-center gap-2.5">
      <svg viewBox="0 0 32 32" className="size-7" aria-hidden="true">
        <rect width="32" height="32" rx="8" fill="var(--accent)" />
        <path d="M8 11h16M16 11v13" stroke="#fff" strokeWidth="3.4" strokeLinecap="round" />
        <circle cx="23" cy="22" r="2.6" fill="#c7d2fe" />
      </svg>
      <span className="font-semibold text-[15px] tracking-tight">tokenist</span>
    </span>
  )
}
