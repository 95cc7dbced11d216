const FIRST_MS = 500
const CAP_MS = 15_000

/** Return how long to wait before the n-th try (from 0): doubling up to a cap, spread so that tabs don't march. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt, 10))
  return Math.round(full * (0.5 + random / 2))
}
