/** An admin brings a file, confirms which column is what, starts its replay and sees how the feed is doing; then makes a
 * feed of another source, and is told what is wrong with it before it is right. */

import { join } from 'node:path'
import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, file, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const seen = { problems: [] }

const browser = await launchBrowser()
const page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage()
try {
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (error) => seen.problems.push(error.message))
  await logIn(page, base, user, password)
  await page.goto(`${base}/feeds`)
  await page.locator(at('upload')).click()
  await page.locator(at('upload-file')).setInputFiles(file)
  await page.locator(at('map-price')).waitFor()
  seen.mapped = (await page.locator(at('map-price')).innerText()).trim()
  const fill = (name, text) =>
    page
      .locator(`${at(name)}:visible`)
      .locator('input')
      .or(page.locator(`input${at(name)}:visible`))
      .first()
      .fill(text)
  await fill('spec-name', 'from-page')
  await page.screenshot({ path: join(pictures, 'upload.png') })
  await page.locator(at('upload-start')).click()
  await page.locator(`${at('feed-from-page')} [data-state="good"]`).waitFor()
  seen.state = await page.locator(`${at('feed-from-page')} [data-state]`).getAttribute('data-state')
  await page.locator(at('feed-from-page')).getByRole('button', { name: 'Details' }).click()
  await page.getByText('Rows received').waitFor()
  await page.screenshot({ path: join(pictures, 'health.png') })
  await page.keyboard.press('Escape')

  await page.locator(at('new-feed-button')).click()
  await page.locator(at('feed-source')).click()
  await page.getByRole('option', { name: 'Simulated market' }).click()
  await fill('spec-name', 'made here')
  await fill('spec-calendar', '24/7')
  await fill('spec-zone', 'UTC')
  await page.screenshot({ path: join(pictures, 'new-feed.png') })
  await page.locator(at('feed-save')).click()
  seen.refused = await page.locator(at('feed-problem')).innerText()
  await fill('spec-name', 'made-here')
  // The connection breaks between making the feed and starting it: the same button goes on from there.
  await page.route('**/api/tasks', (route) => route.abort(), { times: 1 })
  await page.locator(at('feed-save')).click()
  await page.getByText('Feed made-here', { exact: true }).waitFor()
  seen.unstarted = await page.locator(at('feed-problem')).innerText()
  await page.locator(at('feed-save')).click()
  await page.locator(`${at('feed-made-here')} [data-state="good"]`).waitFor()
  await page.locator(at('change-made-here')).click()
  await page.locator(at('feed-save')).click()
  seen.conflict = await page.locator(at('feed-problem')).innerText()
} catch (error) {
  await page.screenshot({ path: join(pictures, 'failed.png') })
  throw error
} finally {
  await browser.close()
}
process.stdout.write(`${JSON.stringify(seen)}\n`)
