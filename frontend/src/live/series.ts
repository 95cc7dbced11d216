import type { Cluster, Numbers } from './messages'

/** Points kept per cluster: what the server holds too, and what a tab left open all day may cost. */
export const POINTS = 600

export interface Point {
  time: number
  target: number
  price: number | null
  index: number | null
  predictedPrice: number | null
  predictedIndex: number | null
  /** The median forecast and the 80 % band as moves from the point forecast, in bp. */
  medianBp: number | null
  bandBp: readonly [low: number, high: number] | null
  fallback: boolean
}

export interface Series {
  id: number
  points: readonly Point[]
  /** How many results had been applied when the cluster was last seen. */
  seen: number
}

export type SeriesById = Readonly<Record<number, Series>>

function pointOf(numbers: Numbers, cluster: Cluster): Point {
  return {
    time: numbers.time,
    target: numbers.target_time,
    price: cluster.price,
    index: cluster.index ?? null,
    predictedPrice: cluster.predicted_price ?? null,
    predictedIndex: cluster.predicted_index ?? null,
    ...around(cluster),
    fallback: cluster.fallback ?? false,
  }
}

/** What lies around the point forecast, told from it. */
function around({
  predicted_bp,
  predicted_median_bp,
  band80_bp,
}: Cluster): Pick<Point, 'medianBp' | 'bandBp'> {
  if (typeof predicted_bp !== 'number') return { medianBp: null, bandBp: null }
  return {
    medianBp: typeof predicted_median_bp === 'number' ? predicted_median_bp - predicted_bp : null,
    bandBp: band80_bp ? [band80_bp[0] - predicted_bp, band80_bp[1] - predicted_bp] : null,
  }
}

function pushed(points: readonly Point[], point: Point): Point[] {
  const kept = points.length >= POINTS ? points.slice(points.length - POINTS + 1) : points.slice()
  kept.push(point)
  return kept
}

/** Return the series of results that are all there, in their order: no more of them than are asked for. */
export function seriesOf(all: readonly Numbers[]): SeriesById {
  const series: Record<number, { id: number; points: Point[]; seen: number }> = {}
  all.forEach((numbers, at) => {
    for (const cluster of numbers.clusters) {
      series[cluster.id] ??= { id: cluster.id, points: [], seen: at }
      series[cluster.id]?.points.push(pointOf(numbers, cluster))
    }
  })
  return series
}

/** Return the series with one more result; a cluster unseen for as long as the buffer reaches back is dropped. */
export function appended(series: SeriesById, numbers: Numbers, applied: number): SeriesById {
  const next: Record<number, Series> = {}
  for (const old of Object.values(series)) if (applied - old.seen < POINTS) next[old.id] = old
  for (const cluster of numbers.clusters) {
    const points = pushed(next[cluster.id]?.points ?? [], pointOf(numbers, cluster))
    next[cluster.id] = { id: cluster.id, points, seen: applied }
  }
  return next
}
