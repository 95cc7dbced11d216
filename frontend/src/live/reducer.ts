import type { ClientMessage, Cluster, Item, ServerMessage, Stocks, Task } from './messages'
import { appended, type SeriesById } from './series'

export interface StockRow {
  code: string
  cluster: number | null
  price: number | null
  forecast: number | null
  median: number | null
  /** Half-width of the 80 % band around the forecast. */
  band80_bp: number | null
  return_bp: number | null
  age_s: number | null
  fallback: boolean
}

export interface RunNotice {
  run: number
  time: number
}

export interface ResultsState {
  lastId: string | null
  latest: Item | null
  /** The newest clusters there were in this run: a closed market has none, and its charts stay. */
  clusters: readonly Cluster[]
  /** Results since the newest run began, in this tab's memory. */
  applied: number
  series: SeriesById
  notice: RunNotice | null
  /** A gap was seen and the server was asked for what is missing; updates until its answer can't be joined on. */
  resyncing: boolean
}

export interface StocksState {
  id: string
  total: number
  rows: Readonly<Record<string, StockRow>>
}

export interface LiveState {
  tasks: Readonly<Record<number, Task>>
  tasksLoaded: boolean
  results: Readonly<Record<number, ResultsState>>
  stocks: Readonly<Record<number, StocksState>>
  error: string | null
}

export interface Step {
  state: LiveState
  /** What the owner of the socket has to send. */
  send: ClientMessage[]
}

export const EMPTY: LiveState = { tasks: {}, tasksLoaded: false, results: {}, stocks: {}, error: null }

export const NO_RESULTS: ResultsState = {
  lastId: null,
  latest: null,
  clusters: [],
  applied: 0,
  series: {},
  notice: null,
  resyncing: false,
}

/** Return what a Redis stream id sorts by: its time and its counter. */
function idParts(id: string): [number, number] {
  const [time, counter] = id.split('-')
  return [Number(time), Number(counter ?? 0)]
}

export function isAfter(id: string, other: string | null): boolean {
  if (other === null) return true
  const [time, counter] = idParts(id)
  const [otherTime, otherCounter] = idParts(other)
  return time === otherTime ? counter > otherCounter : time > otherTime
}

function applyItem(results: ResultsState, item: Item): ResultsState {
  const before = results.latest?.numbers
  const began = before !== undefined && before.run !== item.numbers.run
  const now = item.numbers.clusters
  const kept = began ? [] : results.clusters
  const applied = began ? 1 : results.applied + 1
  return {
    lastId: item.id,
    latest: item,
    clusters: now.length ? now : kept,
    applied,
    series: appended(began ? {} : results.series, item.numbers, applied),
    notice: began ? { run: item.numbers.run, time: item.numbers.time } : results.notice,
    resyncing: false,
  }
}

function applyItems(results: ResultsState, items: Item[]): ResultsState {
  const fresh = items.filter((item) => isAfter(item.id, results.lastId))
  return { ...fresh.reduce(applyItem, results), resyncing: false }
}

function withResults(state: LiveState, task: number, results: ResultsState): LiveState {
  return { ...state, results: { ...state.results, [task]: results } }
}

function resultsUpdate(state: LiveState, task: number, prev: string | null, item: Item): Step {
  const results = state.results[task]
  if (!results || results.resyncing || !isAfter(item.id, results.lastId)) return { state, send: [] }
  if (prev === results.lastId) return { state: withResults(state, task, applyItem(results, item)), send: [] }
  return {
    state: withResults(state, task, { ...results, resyncing: true }),
    send: [{ type: 'subscribe', topic: 'results', task, after: results.lastId }],
  }
}

function rowsOf({ columns }: Stocks): Record<string, StockRow> {
  const rows: Record<string, StockRow> = {}
  columns.code.forEach((code, i) => {
    rows[code] = {
      code,
      cluster: columns.cluster[i] ?? null,
      price: columns.price[i] ?? null,
      forecast: columns.forecast?.[i] ?? null,
      median: columns.median?.[i] ?? null,
      band80_bp: columns.band80_bp?.[i] ?? null,
      return_bp: columns.return_bp[i] ?? null,
      age_s: columns.age_s[i] ?? null,
      fallback: columns.fallback?.[i] ?? false,
    }
  })
  return rows
}

function applyStocks(state: LiveState, message: Stocks): LiveState {
  const old = message.full ? {} : state.stocks[message.task]?.rows
  const stocks = { id: message.id, total: message.total, rows: { ...old, ...rowsOf(message) } }
  return { ...state, stocks: { ...state.stocks, [message.task]: stocks } }
}

function applySnapshot(state: LiveState, message: Extract<ServerMessage, { type: 'snapshot' }>): LiveState {
  if (message.topic === 'tasks') {
    const tasks = Object.fromEntries(message.tasks.map((task) => [task.id, task]))
    return { ...state, tasks, tasksLoaded: true }
  }
  const base = message.restart ? NO_RESULTS : (state.results[message.task] ?? NO_RESULTS)
  return withResults(state, message.task, applyItems(base, message.items))
}

/** Return the state after a message from the server, and what must be said in return. */
export function reduce(state: LiveState, message: ServerMessage): Step {
  switch (message.type) {
    case 'snapshot':
      return { state: applySnapshot(state, message), send: [] }
    case 'update':
      if (message.topic === 'results') return resultsUpdate(state, message.task, message.prev, message.item)
      return { state: withTask(state, message.task), send: [] }
    case 'stocks':
      return { state: applyStocks(state, message), send: [] }
    case 'error':
      return { state: { ...state, error: message.detail }, send: [] }
    case 'hello':
      return { state: { ...state, error: null }, send: [] }
    case 'pong':
      return { state, send: [] }
  }
}

const WAY = ['Initial', 'Started', 'Running']

/** Say whether a task has been told from an earlier moment of its life than what is known: an attempt never goes back. */
function isOutdated(task: Task, known: Task): boolean {
  if (task.created_at !== known.created_at) return false
  const stage = ({ status }: Task) => (WAY.includes(status) ? WAY.indexOf(status) : WAY.length)
  return task.attempt < known.attempt || (task.attempt === known.attempt && stage(task) < stage(known))
}

/** An answer to a request may come after what the websocket has told since: what is known then stays. */
export function withTask(state: LiveState, task: Task): LiveState {
  const known = state.tasks[task.id]
  if (known && isOutdated(task, known)) return state
  return { ...state, tasks: { ...state.tasks, [task.id]: task } }
}

/** Return the state without a task's results, stocks or both: nobody looks at them any more. */
export function without(state: LiveState, topic: 'results' | 'stocks', task: number): LiveState {
  const kept = { ...state[topic] }
  delete kept[task]
  return { ...state, [topic]: kept }
}

export function dismissNotice(state: LiveState, task: number): LiveState {
  const results = state.results[task]
  return results ? withResults(state, task, { ...results, notice: null }) : state
}
