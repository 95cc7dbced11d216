import { fixed, NONE } from '@/lib/format'
import type { Score } from '@/live/messages'

export type Verdict = 'better' | 'level' | 'none'

export interface Wording {
  verdict: Verdict
  text: string
  short: string
}

type Interval = readonly [low: number, high: number] | null | undefined

/**
 * Say what an error ratio to the last price means: below 1 the model errs less than "it stays as it is", if its whole
 * interval is; else chance alone could have made the difference.
 */
export function wording(ratio: number | null | undefined, interval?: Interval): Wording {
  if (ratio === null || ratio === undefined)
    return { verdict: 'none', text: 'no score yet', short: 'no score yet' }
  if (ratio >= 1)
    return { verdict: 'level', text: 'no better than the last price so far', short: 'no better so far' }
  if (interval && interval[1] >= 1)
    return {
      verdict: 'level',
      text: 'not surely better than the last price so far',
      short: 'not surely better',
    }
  const percent = ((1 - ratio) * 100).toFixed(1)
  if (percent === '0.0')
    return { verdict: 'level', text: 'as good as the last price so far', short: 'as good so far' }
  return {
    verdict: 'better',
    text: `${percent} % smaller error than the last price`,
    short: `${percent} % smaller error`,
  }
}

/** Say in one sentence how the running model does. */
export function summary(score: Pick<Score, 'rmse_ratio' | 'rmse_interval'> | null | undefined): string {
  if (!score || score.rmse_ratio === null) return 'No prediction has met its truth yet.'
  const { verdict, text } = wording(score.rmse_ratio, score.rmse_interval)
  return verdict === 'better' ? `The model’s predictions have a ${text}.` : `The model is ${text}.`
}

/** An interval of a ratio: 0.941 – 0.989. */
export function intervalText(interval: Interval): string {
  return interval ? `${fixed(interval[0], 3)} – ${fixed(interval[1], 3)}` : ''
}

export function percent(share: number | null | undefined, digits = 0): string {
  return typeof share === 'number' ? `${fixed(100 * share, digits)} %` : NONE
}

export interface Fact {
  name: string
  value: string
  note: string
}

/** What a score says beside its errors, in words. */
export function details(score: Score | null): Fact[] {
  if (!score) return []
  const band = (name: string, held: Score['band80']): Fact => ({
    name,
    value: percent(held?.coverage),
    note: held?.coverage_moved == null ? '' : `${percent(held.coverage_moved)} given a move`,
  })
  return [
    band('80 % band held', score.band80),
    band('95 % band held', score.band95),
    { name: 'Direction right', value: percent(score.hit_rate), note: 'where a move was called and came' },
    { name: 'Behind the guard', value: percent(score.silent_share), note: 'the last price was the forecast' },
  ]
}
