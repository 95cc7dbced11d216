/** An operator on the pages around the runs: a run's progress, events and log; the filter; a new run; a token; a schedule. */

import { join } from 'node:path'
import { launchBrowser, logIn } from './browser.mjs'

const [base, user, password, task, pictures] = process.argv.slice(2)
const at = (name) => `[data-testid="${name}"]`
const seen = { problems: [] }

const browser = await launchBrowser()
try {
  const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (error) => seen.problems.push(error.message))
  await logIn(page, base, user, password)
  await readsTheRun(page)
  await filters(page)
  await startsARun(page)
  await makesAndRevokesAToken(page)
  await schedules(page)
  seen.pages = await page.locator('nav a').allTextContents()
  await page.goto(`${base}/audit`)
  await page.waitForURL(`${base}/`)
} finally {
  await browser.close()
}
process.stdout.write(`${JSON.stringify(seen)}\n`)

async function readsTheRun(page) {
  await page.goto(`${base}/runs`)
  await page.locator(at(`run-${task}`)).press('Enter')
  await page.locator(`${at('progress')} >> text=Lag`).waitFor()
  await page.screenshot({ path: join(pictures, 'overview.png') })
  await page.getByRole('tab', { name: 'Timeline' }).click()
  await page.locator(`${at('events')} [data-event="Running"]`).waitFor()
  seen.events = await page
    .locator(`${at('events')} li`)
    .evaluateAll((rows) => rows.map((row) => row.dataset.event))
  await page.getByRole('tab', { name: 'Log' }).click()
  await page.locator(at('log')).waitFor()
  seen.log = await page.locator(at('log')).textContent()
  const download = page.waitForEvent('download')
  await page.locator(at('log-download')).click()
  seen.file = (await download).suggestedFilename()
  await page.screenshot({ path: join(pictures, 'log.png') })
  await page.locator(at('task-stop')).last().click()
  await page.locator(at('confirm-stop')).last().click()
  await page.locator(`${at('drawer')} ${at('task-retry')}`).waitFor()
  await page.keyboard.press('Escape')
  await page.locator(at('drawer')).waitFor({ state: 'hidden' })
}

/** The list shows what the filter says, and the address keeps it over a reload. */
async function filters(page) {
  await page.locator(at('filter-kind')).getByText('Stream').click()
  await page.waitForURL(/kind=stream/)
  await page.locator(at('filter-status')).click()
  await page.getByRole('option', { name: 'Stopped' }).click()
  await page.waitForURL(/status=Stopped/)
  await page.reload()
  await page.locator(at(`run-${task}`)).waitFor()
  seen.filtered = await page
    .locator(`${at('runs')} ${at('status')}`)
    .evaluateAll((chips) => [...new Set(chips.map((chip) => chip.dataset.status))])
  await page.locator(at('search')).fill('no such run')
  await page.locator(at('empty')).waitFor()
  await page.locator(at('filter-clear')).click()
  await page.locator(at(`run-${task}`)).waitFor()
}

async function startsARun(page) {
  await page.locator(at('new-run')).click()
  await page.locator(at('create-run')).click()
  await page.locator(at('drawer')).waitFor()
  seen.created = Number(new URL(page.url()).searchParams.get('run'))
  await page.locator(at('task-stop')).last().click()
  await page.locator(at('confirm-stop')).last().click()
  await page.locator(`${at('drawer')} ${at('task-retry')}`).waitFor()
}

async function makesAndRevokesAToken(page) {
  await page.goto(`${base}/account`)
  await page.locator(at('make-token')).click()
  await page.locator(at('token-name')).fill('notebook')
  await page.locator(at('token-make')).click()
  seen.token = await page.locator(at('new-token')).textContent()
  await page.locator(at('token-notebook')).waitFor()
  await page.reload()
  await page.locator(at('token-notebook')).waitFor()
  seen.toldAgain = await page.locator(at('new-token')).count()
  await page.locator(at('revoke-notebook')).click()
  await page.locator(at('confirm-revoke')).click()
  await page.locator(at('token-notebook')).waitFor({ state: 'detached' })
}

async function schedules(page) {
  await page.goto(`${base}/schedules`)
  await page.locator(at('new-schedule')).click()
  await page.locator(at('schedule-by')).getByText('Time of day').click()
  await page.locator(at('schedule-at')).fill('09:15')
  await page.screenshot({ path: join(pictures, 'schedule.png') })
  await page.locator(at('save-schedule')).click()
  const row = page.locator(`${at('schedules')} tbody tr`).filter({ hasText: '09:15' })
  await row.waitFor()
  seen.schedule = await row.textContent()
  await row.locator('[data-testid^="delete-schedule-"]').click()
  await page.locator(at('confirm-delete')).click()
  await row.waitFor({ state: 'detached' })
}
