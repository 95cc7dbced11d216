import { readonly, ref, shallowRef } from 'vue'
import { backoffMs } from './backoff'
import type { ClientMessage, ServerMessage, Task } from './messages'
import { dismissNotice, EMPTY, reduce, without, withTask } from './reducer'

export type Connection = 'off' | 'connecting' | 'open' | 'waiting'

const PING_MS = 20_000
const SILENCE_MS = 45_000
/** The screen follows at most this often; messages in between are folded together. */
const FLUSH_MS = 100
const SESSION_ENDED = 4401

const state = shallowRef(EMPTY)
const connection = ref<Connection>('off')

let socket: WebSocket | null = null
let attempt = 0
let heardAt = 0
let retryTimer: ReturnType<typeof setTimeout> | undefined
let pingTimer: ReturnType<typeof setInterval> | undefined
let flushTimer: ReturnType<typeof setTimeout> | undefined
let queue: ServerMessage[] = []
let onRefused: (ended: boolean) => void = () => undefined
/** What the pages look at: asked again after every break. */
const results = new Set<number>()
let stocks: { task: number; cluster: number | null; query?: string } | null = null

function send(message: ClientMessage): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
}

function askResults(task: number): void {
  send({ type: 'subscribe', topic: 'results', task, after: state.value.results[task]?.lastId ?? null })
}

function askStocks(): void {
  if (stocks) send({ type: 'subscribe', topic: 'stocks', ...stocks })
}

function subscribeAll(): void {
  send({ type: 'subscribe', topic: 'tasks' })
  for (const task of results) askResults(task)
  askStocks()
}

/** A message that was under way when its topic was left would bring it back. */
function isWanted(message: ServerMessage): boolean {
  if (message.type === 'stocks') return message.task === stocks?.task
  if ('topic' in message && message.topic === 'results') return results.has(message.task)
  return true
}

function flush(): void {
  flushTimer = undefined
  const messages = queue
  queue = []
  let next = state.value
  for (const message of messages.filter(isWanted)) {
    const step = reduce(next, message)
    next = step.state
    step.send.forEach(send)
  }
  state.value = next
}

function onMessage(event: MessageEvent<string>): void {
  heardAt = Date.now()
  queue.push(JSON.parse(event.data) as ServerMessage)
  flushTimer ??= setTimeout(flush, FLUSH_MS)
}

function onOpen(): void {
  attempt = 0
  heardAt = Date.now()
  connection.value = 'open'
  subscribeAll()
}

function onClose(event: CloseEvent): void {
  const neverOpened = connection.value === 'connecting'
  socket = null
  flush()
  connection.value = 'waiting'
  // The answer to a subscription may have been lost with the socket: the next one asks again.
  for (const task of results) unlock(task)
  if (event.code === SESSION_ENDED) {
    disconnect()
    onRefused(true)
    return
  }
  if (neverOpened) onRefused(false)
  retryTimer = setTimeout(connect, backoffMs(attempt++, Math.random()))
}

function unlock(task: number): void {
  const known = state.value.results[task]
  if (!known?.resyncing) return
  state.value = {
    ...state.value,
    results: { ...state.value.results, [task]: { ...known, resyncing: false } },
  }
}

function connect(): void {
  clearTimeout(retryTimer)
  if (socket) return
  connection.value = 'connecting'
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
  const opened = new WebSocket(`${scheme}://${location.host}/ws/live`)
  socket = opened
  opened.onopen = onOpen
  opened.onmessage = onMessage
  opened.onclose = (event) => {
    if (socket === opened) onClose(event)
  }
}

function beat(): void {
  if (!socket) return
  if (Date.now() - heardAt > SILENCE_MS && connection.value === 'open') socket.close()
  else send({ type: 'ping' })
}

function retryNow(): void {
  if (connection.value === 'waiting') connect()
}

/** Open the connection and keep it; `refused(ended)` is called when the session may be, or is, at its end. */
function start(refused: (ended: boolean) => void): void {
  onRefused = refused
  clearInterval(pingTimer)
  pingTimer = setInterval(beat, PING_MS)
  window.addEventListener('online', retryNow)
  connect()
}

function disconnect(): void {
  clearInterval(pingTimer)
  clearTimeout(retryTimer)
  clearTimeout(flushTimer)
  flushTimer = undefined
  queue = []
  window.removeEventListener('online', retryNow)
  const closing = socket
  socket = null
  closing?.close()
  connection.value = 'off'
  state.value = EMPTY
  results.clear()
  stocks = null
}

function watchResults(task: number): void {
  results.add(task)
  askResults(task)
}

function leaveResults(task: number): void {
  results.delete(task)
  send({ type: 'unsubscribe', topic: 'results', task })
  state.value = without(state.value, 'results', task)
}

function watchStocks(task: number, cluster: number | null, query: string): void {
  leaveStocks()
  stocks = query ? { task, cluster, query } : { task, cluster }
  askStocks()
}

function leaveStocks(): void {
  if (!stocks) return
  const { task } = stocks
  send({ type: 'unsubscribe', topic: 'stocks', task })
  stocks = null
  state.value = without(state.value, 'stocks', task)
}

/** The one owner of the websocket: its state, and what the pages want to look at. */
export function useLive() {
  return {
    state: readonly(state) as typeof state,
    connection: readonly(connection),
    start,
    disconnect,
    retryNow,
    watchResults,
    leaveResults,
    watchStocks,
    leaveStocks,
    /** Ask for everything again from where this tab is. */
    refresh: subscribeAll,
    /** Show a task as the server has just answered it, before the websocket tells. */
    putTask: (task: Task) => {
      state.value = withTask(state.value, task)
    },
    dismissNotice: (task: number) => {
      state.value = dismissNotice(state.value, task)
    },
  }
}
