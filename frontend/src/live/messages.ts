/** The closed set of messages of `/ws/live` and the shapes they carry; docs/protocol.md is their contract. */

export type Role = 'viewer' | 'operator' | 'admin'
export type Action = 'start' | 'stop' | 'retry'
export type Kind = 'feed' | 'stream' | 'batch'

export interface User {
  name: string
  role: Role
}

export interface Ratio {
  rmse_ratio: number | null
  mae_ratio: number | null
  n: number
}

export interface Cluster {
  id: number
  size: number
  price: number
  index?: number | null
  predicted_price: number | null
  predicted_index?: number | null
  predicted_bp?: number | null
  fallback?: boolean
  score?: Ratio | null
}

export interface ResultEvent {
  kind: string
  from?: unknown
  to?: unknown
  run?: number
}

export interface Numbers {
  run: number
  index: number
  time: number
  target_time: number
  session: string
  trading: boolean
  feature_set?: string
  silhouette?: number | null
  k?: number
  stocks: number
  real: number
  clusters: Cluster[]
  scores: { since_start: Ratio; recent: Ratio } | null
  counts?: { predicted: number; scored: number; no_truth: number }
  events: ResultEvent[]
}

export interface Meta {
  seq: number
  feed: string
  published_ms: number
  result_ms: number
  lag_ms: number
  late: boolean
  missed: number
  step_ms: number
}

export interface Item {
  id: string
  numbers: Numbers
  meta: Meta
}

export interface Task {
  id: number
  processor: string
  title: string
  kind: Kind
  feed: string | null
  params: Record<string, unknown>
  status: string
  stopping: boolean
  attempt: number
  reason: string | null
  error: string | null
  created_by: string | null
  created_at: string
  started_at: string | null
  running_at: string | null
  ended_at: string | null
  progress: Record<string, unknown>
  actions: Action[]
  live_params: Record<string, unknown> | string[] | null
}

export interface StockColumns {
  code: string[]
  cluster: (number | null)[]
  price: (number | null)[]
  forecast: (number | null)[]
  return_bp: (number | null)[]
  age_s: (number | null)[]
  fallback: (boolean | null)[]
}

export interface StocksMessage {
  type: 'stocks'
  task: number
  id: string
  full: boolean
  total: number
  columns: StockColumns
}

export type ServerMessage =
  | { type: 'hello'; user: User | string; now: string | number }
  | { type: 'pong' }
  | { type: 'snapshot'; topic: 'results'; task: number; items: Item[]; restart: boolean }
  | { type: 'update'; topic: 'results'; task: number; prev: string | null; item: Item }
  | { type: 'snapshot'; topic: 'tasks'; tasks: Task[] }
  | { type: 'update'; topic: 'tasks'; task: Task }
  | StocksMessage
  | { type: 'error'; detail: string }

export type ClientMessage =
  | { type: 'subscribe'; topic: 'tasks' }
  | { type: 'subscribe'; topic: 'results'; task: number; after: string | null }
  | { type: 'subscribe'; topic: 'stocks'; task: number; cluster: number | null; query?: string }
  | { type: 'unsubscribe'; topic: 'tasks' | 'results' | 'stocks'; task?: number }
  | { type: 'ping' }
