import type { Numbers } from '@/live/messages'

/** What a processor's results hold, so that the page keeps no place for what never comes. */
export interface Says {
  /** Stocks are clustered; else the whole market is one line. */
  clusters: boolean
  predictions: boolean
}

/** Before the first result nothing is ruled out. */
export function saysOf(numbers: Numbers | null): Says {
  if (!numbers) return { clusters: true, predictions: true }
  return {
    clusters: typeof numbers.k === 'number',
    predictions:
      numbers.scores !== null || numbers.clusters.some((cluster) => cluster.predicted_price !== null),
  }
}

export function nameOf(id: number, { clusters }: Says): string {
  return clusters ? `Cluster ${id}` : 'Market'
}
