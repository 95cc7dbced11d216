import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { ClientMessage, ServerMessage } from '@/live/messages'
import { useLive } from '@/live/useLive'
import { sample } from './samples'

/** As much of a socket as the composable uses; the server's side is played by the test. */
class FakeSocket {
  static readonly OPEN = 1
  static all: FakeSocket[] = []
  readyState = 0
  sent: ClientMessage[] = []
  onopen: () => void = () => undefined
  onmessage: (event: { data: string }) => void = () => undefined
  onclose: (event: { code: number }) => void = () => undefined

  constructor() {
    FakeSocket.all.push(this)
  }
  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientMessage)
  }
  close(code = 1006) {
    this.readyState = 3
    this.onclose({ code })
  }
  open() {
    this.readyState = FakeSocket.OPEN
    this.onopen()
  }
  say(message: ServerMessage) {
    this.onmessage({ data: JSON.stringify(message) })
    vi.advanceTimersByTime(100)
  }
}

const live = useLive()
const refused = vi.fn()
const newest = () => FakeSocket.all.at(-1) as FakeSocket

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('WebSocket', FakeSocket)
  vi.stubGlobal('location', { protocol: 'http:', host: 'here' })
  vi.stubGlobal('window', { addEventListener: vi.fn(), removeEventListener: vi.fn() })
  FakeSocket.all = []
  refused.mockClear()
  live.start(refused)
  newest().open()
})

afterEach(() => {
  live.disconnect()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

it('resumes by the last id after a break', () => {
  live.watchResults(2)
  newest().say(sample('server_results_snapshot'))
  newest().close()
  expect(live.connection.value).toBe('waiting')
  vi.advanceTimersByTime(500)
  expect(FakeSocket.all).toHaveLength(2)
  newest().open()
  const after = live.state.value.results[2]?.lastId
  expect(after).toBeTruthy()
  expect(newest().sent).toContainEqual({ type: 'subscribe', topic: 'results', task: 2, after })
})

it('asks again after a gap', () => {
  live.watchResults(2)
  newest().say(sample('server_results_snapshot'))
  const before = newest().sent.length
  newest().say(sample('server_results_update_gap'))
  expect(newest().sent.slice(before)).toMatchObject([{ type: 'subscribe', topic: 'results', task: 2 }])
})

it('takes no more of what nobody looks at', () => {
  live.watchResults(2)
  live.leaveResults(2)
  newest().say(sample('server_results_snapshot'))
  expect(live.state.value.results).toEqual({})
})

it('closes a connection that has fallen silent', () => {
  vi.advanceTimersByTime(60_000)
  expect(live.connection.value).not.toBe('open')
})

it('tells when the session has ended, and does not try again', () => {
  newest().close(4401)
  vi.advanceTimersByTime(60_000)
  expect(refused).toHaveBeenCalledWith(true)
  expect(live.connection.value).toBe('off')
  expect(FakeSocket.all).toHaveLength(1)
})
