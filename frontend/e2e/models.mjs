/** One person at the live page looks at two runs, one without predictions and one without clusters. Prints JSON. */

import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, clustering, regression, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const problems = []

const browser = await launchBrowser()
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 1100 } })).newPage()
  page.setDefaultTimeout(90_000)
  page.on('pageerror', (error) => problems.push(error.message))
  await logIn(page, base, user, password)
  const seen = { clustering: await look(page, clustering), regression: await look(page, regression) }
  process.stdout.write(`${JSON.stringify({ ...seen, problems })}\n`)
} finally {
  await browser.close()
}

/** Return what the page shows of a run once its stocks are there. */
async function look(page, run) {
  await page.goto(`${base}/?run=${run}`)
  await page
    .locator(`${at('stock-table')} tbody td.code`)
    .first()
    .waitFor()
  const charts = page.locator('[data-testid^="cluster-chart-"]')
  await page.waitForFunction(() => document.querySelector('[data-points]')?.getAttribute('data-points') > 2)
  if (pictures) await page.screenshot({ path: `${pictures}/run-${run}.png`, fullPage: true })
  return {
    charts: await charts.count(),
    labels: await page.locator('article.cluster h3').allTextContents(),
    columns: await page.locator(`${at('stock-table')} th`).allTextContents(),
    rows: await page.locator(`${at('stock-table')} tbody td.code`).count(),
    sizes: await page.locator(at('sizes')).count(),
    score: await page.locator(`${at('score-panel')} .sentence`).textContent(),
    facts: await page.locator(at('score-facts')).count(),
    measures: await page.locator(`${at('measure')} .el-radio-button`).allTextContents(),
  }
}
