import type { Measure } from '@/charts/clusterOption'
import type { Cluster, Numbers } from '@/live/messages'

/** What a processor's results hold, so that the page keeps no place for what never comes. */
export interface Says {
  /** Stocks are clustered; else the whole market is one line. */
  clusters: boolean
  predictions: boolean
  /** A row per stock. */
  stocks: boolean
}

/** Before the first result nothing is ruled out. */
export function saysOf(numbers: Numbers | null): Says {
  if (!numbers) return { clusters: true, predictions: true, stocks: true }
  return {
    clusters: typeof numbers.k === 'number',
    stocks: typeof numbers.k === 'number' || Boolean(numbers.counts),
    predictions:
      numbers.scores !== null || numbers.clusters.some((cluster) => cluster.predicted_price !== null),
  }
}

const MEASURES: { value: Measure; title: string }[] = [
  { value: 'index', title: 'Index' },
  { value: 'price', title: 'Mean price' },
  { value: 'difference', title: 'Difference (bp)' },
]

/** Return what charts can show: of clusters without an index (stock_avg) the price, without predictions no difference. */
export function measuresOf(clusters: readonly Cluster[], { predictions }: Says): typeof MEASURES {
  const hasIndex = clusters.some(({ index }) => typeof index === 'number')
  return MEASURES.filter(
    ({ value }) => (hasIndex || value === 'price') && (predictions || value !== 'difference'),
  )
}

export function nameOf(id: number, { clusters }: Says): string {
  return clusters ? `Cluster ${id}` : 'Market'
}
