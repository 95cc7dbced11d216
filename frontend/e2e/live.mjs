/** One person at the live page: logs in, starts a run, sees a chart move, changes K, stops the run. Prints JSON. */

import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const problems = []

const browser = await launchBrowser()
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage()
  page.setDefaultTimeout(90_000)
  page.on('pageerror', (error) => problems.push(error.message))
  await logIn(page, base, user, password)
  const simulated = await page.locator(at('simulated-badge')).first().isVisible()
  await page.locator(at('start')).click()
  const moved = await chartMoves(page)
  const clusters = await changeK(page, '3')
  const stocks = await page.locator(`${at('stock-table')} tbody tr`).count()
  await picture(page, 'live.png')
  await page.locator(at('stop')).click()
  await page.locator(at('confirm-stop')).click()
  await page
    .locator(`${at('status')}[data-status="Stopped"]`)
    .first()
    .waitFor()
  process.stdout.write(`${JSON.stringify({ simulated, moved, clusters, stocks, problems })}\n`)
} finally {
  await browser.close()
}

/** Return the times of a chart's last point before and after it moved by itself. */
async function chartMoves(page) {
  const chart = page.locator('[data-testid^="cluster-chart-"][data-last-time]').first()
  await chart.waitFor()
  const first = await chart.getAttribute('data-last-time')
  const id = await chart.getAttribute('data-testid')
  await page.waitForFunction(
    ([name, before]) =>
      document.querySelector(`[data-testid="${name}"]`)?.getAttribute('data-last-time') > before,
    [id, first],
  )
  return { from: Number(first), to: Number(await page.locator(at(id)).getAttribute('data-last-time')) }
}

async function changeK(page, value) {
  await page.locator(`${at('field-k')} input`).fill(value)
  await page.locator(`${at('field-k')} input`).press('Tab')
  await page.locator(at('apply-k')).click()
  const charts = '[data-testid^="cluster-chart-"]'
  await page.waitForFunction(
    ([selector, count]) => document.querySelectorAll(selector).length === count,
    [charts, Number(value)],
  )
  return page.locator(charts).count()
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: `${pictures}/${name}` })
}
