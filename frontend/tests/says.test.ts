import { describe, expect, it } from 'vitest'
import { clusterOption } from '@/charts/clusterOption'
import { LIGHT } from '@/charts/palette'
import { measuresOf, nameOf, saysOf } from '@/lib/says'
import { EMPTY, reduce } from '@/live/reducer'
import { sample } from './samples'

/** Return the newest result and what its first group's chart is drawn from, once a sample has been applied. */
function shown(name: string) {
  const message = sample<{ task: number } & Parameters<typeof reduce>[1]>(name)
  const results = reduce(EMPTY, message).state.results[message.task]
  const numbers = results?.latest?.numbers ?? null
  const series = Object.values(results?.series ?? {})[0]
  return { numbers, points: series?.points ?? [] }
}

function linesOf(name: string): string[] {
  const option = clusterOption(shown(name).points, 'price', 'UTC', '#000', LIGHT)
  return (option.series as { name: string }[]).map((line) => line.name)
}

describe('a processor that', () => {
  it('clusters and predicts has both', () => {
    expect(saysOf(shown('server_results_snapshot').numbers)).toEqual({
      clusters: true,
      predictions: true,
      stocks: true,
    })
  })

  it('clusters only draws no prediction', () => {
    expect(saysOf(shown('server_results_kmeans').numbers)).toEqual({
      clusters: true,
      predictions: false,
      stocks: true,
    })
    expect(linesOf('server_results_kmeans')).toEqual(['Real'])
  })

  it('predicts only has one line, of the market', () => {
    const says = saysOf(shown('server_results_linear_regression').numbers)
    expect(says).toEqual({ clusters: false, predictions: true, stocks: true })
    expect(nameOf(1, says)).toBe('Market')
    expect(linesOf('server_results_linear_regression')).toContain('Predicted')
  })

  it('predicts without scores predicts all the same', () => {
    expect(saysOf(shown('server_results_stock_avg').numbers)).toEqual({
      clusters: false,
      predictions: true,
      stocks: false,
    })
  })

  it.each([
    ['server_results_linear_regression', ['index', 'price', 'difference']],
    ['server_results_kmeans', ['index', 'price']],
    ['server_results_stock_avg', ['price']],
  ])('told %s can be shown by %j', (name, expected) => {
    const { numbers } = shown(name)
    expect(measuresOf(numbers?.clusters ?? [], saysOf(numbers)).map(({ value }) => value)).toEqual(expected)
  })

  it('has told nothing yet may tell anything', () => {
    expect(saysOf(null)).toEqual({ clusters: true, predictions: true, stocks: true })
  })
})

it('takes stocks without columns of a forecast', () => {
  const { state } = reduce(EMPTY, sample('server_stocks_kmeans'))
  const rows = Object.values(Object.values(state.stocks)[0]?.rows ?? {})
  expect(rows.length).toBeGreaterThan(2)
  for (const row of rows) {
    expect(row).toMatchObject({ forecast: null, median: null, band80_bp: null, fallback: false })
    expect(row.cluster).toBeGreaterThan(0)
  }
})
