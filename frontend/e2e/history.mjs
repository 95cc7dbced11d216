/** A viewer on the history's page: its days, a stock's bars, another width and stock, a download. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const seen = { problems: [] }

const browser = await launchBrowser()
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (error) => seen.problems.push(error.message))
  await logIn(page, base, user, password)
  await page.getByRole('link', { name: 'History' }).click()
  await page
    .locator(`${at('history-days')} tbody tr`)
    .first()
    .waitFor()
  seen.days = await page
    .locator(`${at('history-days')} tbody tr`)
    .evaluateAll((rows) => rows.map((row) => row.dataset.day))
  seen.minutes = await bars(page)
  await page.screenshot({ path: join(pictures, 'history.png') })
  await page.locator(at('bars-every')).getByText('15m').click()
  await page.waitForURL(/every=15m/)
  await page.locator(`${at('bars')}[data-bars="5"], ${at('bars')}[data-bars="6"]`).waitFor()
  seen.quarters = await bars(page)
  await page.goto(`${page.url()}&code=600107`)
  await page.locator(`${at('bars')}[data-code="600107"]`).waitFor()
  const download = page.waitForEvent('download')
  await page.locator(at('download-csv')).first().click()
  const file = await download
  seen.file = file.suggestedFilename()
  seen.lines = (await readFile(await file.path(), 'utf8')).trimEnd().split('\n').length
  await page.setViewportSize({ width: 390, height: 844 })
  await page.screenshot({ path: join(pictures, 'history-phone.png') })
  seen.wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)
} finally {
  await browser.close()
}
process.stdout.write(`${JSON.stringify(seen)}\n`)

async function bars(page) {
  const chart = page.locator(at('bars'))
  await chart.locator('canvas').waitFor()
  return Number(await chart.getAttribute('data-bars'))
}
