/** Launches the Chromium that comes as an npm package, so that a browser test needs neither root nor an installed browser. */

import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { chromium as driver } from 'playwright-core'

// The package unpacks the libraries it was built with (libnss3 …) only where it believes to be in this runtime.
process.env.AWS_EXECUTION_ENV ??= 'AWS_Lambda_nodejs22.x'
process.env.AWS_LAMBDA_JS_RUNTIME ??= 'nodejs22.x'

/** Made for a function that runs once: a second context dies with the first, and the same-origin rule is off. */
const UNWANTED = new Set(['--single-process', '--disable-web-security', '--allow-running-insecure-content'])

/** Return a running browser; the caller closes it. `CHROMIUM` names another executable. */
export async function launchBrowser(options = {}) {
  if (process.env.CHROMIUM) return driver.launch({ executablePath: process.env.CHROMIUM, ...options })
  const { default: chromium } = await import('@sparticuz/chromium')
  chromium.setGraphicsMode = false // WebGL in software: nothing here draws with it
  const executablePath = await chromium.executablePath()
  const libraries = ['al2023', 'al2'].map((name) => join(tmpdir(), name, 'lib'))
  const LD_LIBRARY_PATH = [...libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter)
  return driver.launch({
    executablePath,
    args: chromium.args.filter((arg) => !UNWANTED.has(arg)),
    headless: true,
    env: { ...process.env, LD_LIBRARY_PATH },
    ...options,
  })
}

/** Log in by the page and wait until the live connection stands. */
export async function logIn(page, base, user, password) {
  const input = (name) => page.locator(`[data-testid="${name}"] input, input[data-testid="${name}"]`)
  await page.goto(`${base}/login`)
  await input('login-username').fill(user)
  await input('login-password').fill(password)
  await page.locator('[data-testid="login-submit"]').click()
  await page.locator('[data-testid="connection"][data-state="open"]').waitFor()
}
