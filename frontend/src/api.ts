import type { JsonSchema } from './lib/schemaForm'
import type { Item, Kind, Task } from './live/messages'

export interface User {
  name: string
  role: 'viewer' | 'operator' | 'admin'
}

export interface Session {
  user: User | null
  version: string
}

export interface Processor {
  name: string
  kind: Kind
  title: string
  description: string
  schema: JsonSchema
  enabled: boolean
}

export interface Feed {
  name: string
  title: string
  interval_ms: number
  zone: string
  calendar: string
  simulated: boolean
  processor: string
  params: Record<string, unknown>
  live_task: number | null
  last: {
    seq: number
    time: number
    received: number
    expected: number
    session: string
    run: number
  } | null
}

export interface TaskPage {
  count: number
  next: string | null
  previous: string | null
  results: Task[]
}

export interface TaskEvent {
  at: string
  attempt: number
  from: string | null
  to: string
  actor: string | null
  reason: string | null
}

interface Problem {
  title?: string
  status?: number
  detail?: string
  errors?: Record<string, string[]>
}

/** What the server, or the way to it, said against a call: `message` for people, `errors` by field. */
export class ApiError extends Error {
  readonly status: number
  readonly errors: Record<string, string[]>

  constructor(status: number, problem: Problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`)
    this.status = status
    this.errors = problem.errors ?? {}
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function csrfToken(): string {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? ''
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem
  } catch {
    return { title: `The server answered ${response.status} ${response.statusText}`.trim() }
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (method !== 'GET') headers['X-CSRFToken'] = csrfToken()
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  const response = await fetch(`/api/${path}`, {
    method,
    headers,
    credentials: 'same-origin',
    body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => {
    throw new ApiError(0, { detail: 'The server can’t be reached.' })
  })
  if (!response.ok) throw new ApiError(response.status, await problemOf(response))
  const text = await response.text()
  return (text ? JSON.parse(text) : undefined) as T
}

function query(values: Record<string, string | number | undefined>): string {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== '')
  return new URLSearchParams(set.map(([key, value]) => [key, String(value)])).toString()
}

export interface TaskFilter {
  kind?: string
  status?: string
  feed?: string
  page?: number
}

export const api = {
  session: () => call<Session>('GET', 'session'),
  login: (username: string, password: string) => call<Session>('POST', 'session', { username, password }),
  logout: () => call<void>('DELETE', 'session'),
  processors: () => call<Processor[]>('GET', 'processors'),
  feeds: () => call<Feed[]>('GET', 'feeds'),
  tasks: (filter: TaskFilter) => call<TaskPage>('GET', `tasks?${query({ ...filter })}`),
  task: (id: number) => call<Task>('GET', `tasks/${id}`),
  create: (processor: string, feed: string | null, params: Record<string, unknown>) =>
    call<Task>('POST', 'tasks', { processor, feed, params, start: true }),
  start: (id: number) => call<Task>('POST', `tasks/${id}/start`, {}),
  stop: (id: number, reason?: string) => call<Task>('POST', `tasks/${id}/stop`, reason ? { reason } : {}),
  retry: (id: number, fresh: boolean) => call<Task>('POST', `tasks/${id}/retry`, { fresh }),
  setLive: (id: number, name: string, value: unknown) =>
    call<unknown>('POST', `tasks/${id}/live`, { name, value }),
  events: (id: number) =>
    call<{ results: TaskEvent[] }>('GET', `tasks/${id}/events?page_size=500`).then((page) => page.results),
  result: (id: number) => call<Item>('GET', `tasks/${id}/result`),
}
