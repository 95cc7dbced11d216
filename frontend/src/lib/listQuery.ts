/** A list's filter, order and page as they stand in the address of its page. */

export type ListQuery<Name extends string> = Record<Name, string> & { page: number }

type Query = Readonly<Record<string, unknown>>

export function readQuery<Name extends string>(query: Query, names: readonly Name[]): ListQuery<Name> {
  const texts = names.map((name) => [name, typeof query[name] === 'string' ? query[name] : ''])
  const page = Number(query.page)
  return { ...Object.fromEntries(texts), page: Number.isInteger(page) && page > 0 ? page : 1 }
}

/** Return the query with the changes made; what is empty is left out, and another filter begins on page 1. */
export function writeQuery(query: Query, changes: Readonly<Record<string, unknown>>): Record<string, string> {
  const next: Record<string, unknown> = { ...query, ...('page' in changes ? {} : { page: '' }), ...changes }
  if (next.page === 1) next.page = ''
  return Object.fromEntries(
    Object.entries(next)
      .filter(([, value]) => value !== '' && value !== null && value !== undefined)
      .map(([name, value]) => [name, String(value)]),
  )
}

/** Say whether a filter leaves something out; order and page do not. */
export function isFiltered(query: Query): boolean {
  return Object.entries(query).some(([name, value]) => !['order', 'page'].includes(name) && value !== '')
}

export type Sorted = 'ascending' | 'descending' | 'none'

export function sortedBy(order: string, name: string): Sorted {
  if (order === name) return 'ascending'
  return order === `-${name}` ? 'descending' : 'none'
}

/** Return the order after a click on a column's head: newest or largest first, then the other way round. */
export function nextOrder(order: string, name: string): string {
  return order === `-${name}` ? name : `-${name}`
}
