/** An operator brings a file, confirms which column is what, starts its replay and sees how the feed is doing. */

import { join } from 'node:path'
import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, file, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const seen = { problems: [] }

const browser = await launchBrowser()
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (error) => seen.problems.push(error.message))
  await logIn(page, base, user, password)
  await page.goto(`${base}/feeds`)
  await page.locator(at('upload')).click()
  await page.locator(at('upload-file')).setInputFiles(file)
  await page.locator(at('map-price')).waitFor()
  seen.mapped = (await page.locator(at('map-price')).innerText()).trim()
  await page
    .locator(at('upload-name'))
    .locator('input')
    .or(page.locator(`input${at('upload-name')}`))
    .first()
    .fill('from-page')
  await page.screenshot({ path: join(pictures, 'upload.png') })
  await page.locator(at('upload-start')).click()
  await page.locator(`${at('feed-from-page')} [data-state="good"]`).waitFor()
  seen.state = await page.locator(`${at('feed-from-page')} [data-state]`).getAttribute('data-state')
  await page.locator(at('feed-from-page')).getByRole('button', { name: 'Details' }).click()
  await page.getByText('Rows received').waitFor()
  await page.screenshot({ path: join(pictures, 'health.png') })
} finally {
  await browser.close()
}
process.stdout.write(`${JSON.stringify(seen)}\n`)
