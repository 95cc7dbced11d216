/** The messages of `/ws/live` and what they carry, made from the server's own types: tasks_app/messages.py. */

import type { Task } from './generated/messages'

export type {
  ClientMessage,
  Cluster,
  Item,
  Numbers,
  Ratio,
  Score,
  ServerMessage,
  Stocks,
  Task,
} from './generated/messages'

export type Kind = Task['kind']
