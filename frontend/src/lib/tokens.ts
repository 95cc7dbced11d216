const DAY_MS = 86_400_000

/** Say what is wrong with the name of a new token, nothing when it may be used. */
export function tokenNameError(name: string, tokens: readonly { name: string }[]): string {
  if (!/^[\w-]{1,64}$/.test(name)) return 'Letters, digits, - and _ only.'
  return tokens.some((token) => token.name === name) ? 'You have a token of this name already.' : ''
}

export function daysLeft(expiry: string, now = Date.now()): number {
  return (Date.parse(expiry) - now) / DAY_MS
}

export function expiryText(expiry: string, now = Date.now()): string {
  const days = daysLeft(expiry, now)
  if (days <= 0) return 'expired'
  if (days < 1) return 'within a day'
  return `in ${Math.round(days)} ${Math.round(days) === 1 ? 'day' : 'days'}`
}
