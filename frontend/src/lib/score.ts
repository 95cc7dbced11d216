import type { Ratio } from '@/live/messages'

export type Verdict = 'better' | 'level' | 'none'

export interface Wording {
  verdict: Verdict
  text: string
  short: string
}

/** Say what an error ratio to the last price means: below 1 the model errs less than "it stays as it is". */
export function wording(ratio: number | null | undefined): Wording {
  if (ratio === null || ratio === undefined)
    return { verdict: 'none', text: 'no score yet', short: 'no score yet' }
  if (ratio >= 1)
    return { verdict: 'level', text: 'no better than the last price so far', short: 'no better so far' }
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
export function summary(score: Ratio | null | undefined): string {
  if (!score || score.rmse_ratio === null) return 'No prediction has met its truth yet.'
  const { verdict, text } = wording(score.rmse_ratio)
  return verdict === 'better' ? `The model’s predictions have a ${text}.` : `The model is ${text}.`
}
