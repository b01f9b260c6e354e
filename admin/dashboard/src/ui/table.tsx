'use client'
import {
  type ColumnDef,
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  type OnChangeFn,
  type RowData,
  type SortingState,
  useReactTable,
} from '@tanstack/react-table'
import { ArrowDown, ArrowUp, ChevronsUpDown } from 'lucide-react'
import type { ReactNode } from 'react'
import { cx } from './cx'
import { Skeleton } from './skeleton'

declare module '@tanstack/react-table' {
  interface ColumnMeta<TData extends RowData, TValue> {
    numeric?: boolean
    /** Left out below this width. */
    from?: 'sm' | 'md' | 'lg' | 'xl'
    className?: string
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a column's value type varies from column to column
export type Columns<Row> = ColumnDef<Row, any>[]

interface Props<Row> {
  label: string
  columns: Columns<Row>
  rows: Row[] | undefined
  rowId: (row: Row) => string
  empty?: ReactNode
  /** Given when the API sorts; without it the rows at hand are sorted here. */
  sorting?: SortingState
  onSort?: OnChangeFn<SortingState>
  skeletonRows?: number
}

export function Table<Row>({
  label,
  columns,
  rows,
  rowId,
  empty,
  sorting,
  onSort,
  skeletonRows = 8,
}: Props<Row>) {
  const table = useReactTable({
    data: rows ?? (NONE as Row[]),
    columns,
    getRowId: rowId,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
    enableSortingRemoval: false,
    sortDescFirst: true,
    ...(sorting && { manualSorting: true, state: { sorting }, onSortingChange: onSort }),
  })
  if (rows?.length === 0 && empty) return empty
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="relative overflow-x-auto rounded-b-xl" aria-label={label} tabIndex={0}>
      <table className="w-full border-collapse text-left tabular-nums">
        <caption className="sr-only">{label}</caption>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} className="border-b">
              {group.headers.map((header) => (
                <th
                  key={header.id}
                  scope="col"
                  aria-sort={ariaSort(header.column.getIsSorted())}
                  className={cx(
                    'h-9 whitespace-nowrap px-3 font-medium text-ink-3 text-xs first:pl-4 last:pr-4 sm:first:pl-5 sm:last:pr-5',
                    place(header.column.columnDef.meta),
                  )}
                >
                  {header.column.getCanSort() ? (
                    <button
                      type="button"
                      onClick={header.column.getToggleSortingHandler()}
                      className={cx(
                        'inline-flex items-center gap-1 rounded hover:text-ink',
                        header.column.getIsSorted() && 'text-ink',
                      )}
                    >
                      {flexRender(header.column.columnDef.header, header.getContext())}
                      <SortSign sorted={header.column.getIsSorted()} />
                    </button>
                  ) : (
                    flexRender(header.column.columnDef.header, header.getContext())
                  )}
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody>
          {rows === undefined && <SkeletonRows rows={skeletonRows} columns={columns} />}
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id} className="border-b transition-colors last:border-0 hover:bg-canvas">
              {row.getVisibleCells().map((cell) => (
                <td
                  key={cell.id}
                  className={cx(
                    'h-10 px-3 py-1.5 first:pl-4 last:pr-4 sm:first:pl-5 sm:last:pr-5',
                    place(cell.column.columnDef.meta),
                  )}
                >
                  {flexRender(cell.column.columnDef.cell, cell.getContext())}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

const NONE: never[] = []

function SortSign({ sorted }: { sorted: false | 'asc' | 'desc' }) {
  const Sign = sorted === 'asc' ? ArrowUp : sorted === 'desc' ? ArrowDown : ChevronsUpDown
  return <Sign aria-hidden className={cx('size-3', !sorted && 'opacity-50')} />
}

function SkeletonRows<Row>({ rows, columns }: { rows: number; columns: Columns<Row> }) {
  return Array.from({ length: rows }, (_, row) => (
    <tr key={row} className="border-b last:border-0">
      {columns.map((column) => (
        <td
          key={column.id}
          className={cx('h-10 px-3 first:pl-4 last:pr-4 sm:first:pl-5 sm:last:pr-5', place(column.meta))}
        >
          <Skeleton className={cx('h-3.5', column.meta?.numeric ? 'ml-auto w-14' : 'w-28 max-w-full')} />
        </td>
      ))}
    </tr>
  ))
}

function ariaSort(sorted: false | 'asc' | 'desc') {
  return sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : undefined
}

function place(meta: Columns<unknown>[number]['meta']) {
  return cx(meta?.numeric && 'text-right', meta?.from && FROM[meta.from], meta?.className)
}

const FROM = {
  sm: 'hidden sm:table-cell',
  md: 'hidden md:table-cell',
  lg: 'hidden lg:table-cell',
  xl: 'hidden xl:table-cell',
}
