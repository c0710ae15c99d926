// Stories on a real server with real agents, each as a person would do it, in Chromium.
//
//   node e2e/fleet.mjs URL TOKEN OUTDIR NAME STEP...            (the steps: web/README.md)
//
// Each step leaves a picture NAME-STEP.png in OUTDIR; the first that fails ends it with one sentence.

import { mkdir, readFile } from 'node:fs/promises';

import { launch, open, shot, until } from './browser.mjs';
import { startProvider } from './provider.mjs';

const LIMIT = 120_000;
const ENDS = ['succeeded', 'partial', 'failed', 'cancelled', 'interrupted', 'missed'];

const at = (path) => new URL(path, base).href;
const [url, token, out, name, ...steps] = process.argv.slice(2);
const base = `${url?.replace(/\/$/, '')}/`;
const hostPath = (host) => at(`/hosts/${encodeURIComponent(host)}`);
const wait = (what, condition) => until(what, condition, LIMIT);
const equal = (what, found, wanted) => {
  if (found !== wanted) throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};

async function signIn(page) {
  await page.goto(`${base}#token=${encodeURIComponent(token)}`);
  await wait('the live connection', () => page.locator('.state.live').count());
}

/** Presses “Back up now”; ends on the page of the new job. */
async function start(page, where) {
  const [host, group] = where.split('/');
  await page.goto(hostPath(host));
  const button = page.locator(`[data-group="${group}"]`).getByRole('button', { name: 'Back up now' });
  await wait(`the source group ${group}`, () => button.count());
  await button.click();
  await wait('the page of the job', () => page.url().includes('/jobs/'));
}

const status = (page) => page.locator('.page[data-status]').first().getAttribute('data-status', { timeout: 1000 }).catch(() => undefined);
const becomes = (page, word) =>
  wait(`the job being ${word}`, async () => {
    const now = await status(page);
    if (ENDS.includes(now) && now !== word) throw new Error(`the job ended as ${now}, not as ${word}`);
    return now === word;
  });

/** How far the bar says it is; `undefined` while it does not say. */
async function percent(page) {
  const bar = page.locator('.progress [role=progressbar]').first();
  const text = await bar.getAttribute('aria-valuenow', { timeout: 500 }).catch(() => null);
  return text === null ? undefined : Number(text);
}

const STEPS = {
  /** Adds a host; whoever reads the line must enrol an agent with its token. */
  async 'add-host'(page, host) {
    await page.goto(at('/add-host'));
    await page.fill('#host-name', host);
    await page.keyboard.press('Enter');
    await wait('the command', () => page.locator('.copyable code').count());
    const command = await page.locator('.copyable code').innerText();
    console.log(`enrol: ${/hf_enr_\S+/.exec(command)[0]}`);
    await wait(`${host} being connected`, () => page.getByText(`${host} is connected.`).count());
  },

  /** A backup goes from the beginning to the end, and the bar never back. */
  async 'back-up'(page, where) {
    await start(page, where);
    const seen = [];
    await wait('the end of the backup', async () => {
      const now = await percent(page);
      if (now !== undefined && now !== seen.at(-1)) seen.push(now);
      if (seen.length === 2) await shot(page, out, `${name}-back-up-moving`);
      return ENDS.includes(await status(page));
    });
    equal('the end', await status(page), 'succeeded');
    console.log(`bar: ${seen.join(' ')}`);
    if (seen.length < 3) throw new Error(`the bar was seen at ${seen.length} places only`);
  },

  /** Reads a log while it grows: asked for once and then told, and nothing is missing or doubled. */
  async log(page, where) {
    let asked = 0;
    page.on('request', (request) => (asked += request.url().includes('/log?') ? 1 : 0));
    await start(page, where);
    const lines = page.locator('[role=log] p:not(.gap) span');
    await wait('ten lines', async () => (await lines.count()) >= 10);
    console.log('log: flows');
    await wait('the end of the backup', async () => ENDS.includes(await status(page)));
    const stored = () => page.evaluate(async (job) => (await fetch(`/api/v1/jobs/${job}/log`)).json(), page.url().split('/').at(-1));
    await wait('the page having as many lines as the server', async () => (await lines.count()) === (await stored()).lines.length);
    const { lines: wanted, gaps } = await stored();
    const shown = await lines.allTextContents();
    for (const [place, line] of wanted.entries()) equal(`line ${line.seq}`, shown[place]?.trim(), line.payload.trim());
    equal('the number of gaps', await page.locator('[role=log] .gap').count(), gaps.length);
    equal('how often the log was asked for', asked, 1);
    console.log(`log: ${wanted.length} lines, ${gaps.length} gaps`);
  },

  async cancel(page, where) {
    await start(page, where);
    await becomes(page, 'running');
    await page.getByRole('button', { name: 'Cancel job' }).click();
    await page.getByRole('button', { name: 'Cancel the backup' }).click();
    await becomes(page, 'cancelled');
  },

  async pause(page, where) {
    await start(page, where);
    await becomes(page, 'running');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await becomes(page, 'paused');
    await shot(page, out, `${name}-paused`);
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await becomes(page, 'running');
    await page.getByRole('button', { name: 'Cancel job' }).click();
    await page.getByRole('button', { name: 'Cancel the backup' }).click();
    await becomes(page, 'cancelled');
  },

  /** Comes in by an identity provider; whoever reads the line must set it with the command line. */
  async provider(page, who) {
    const [person, group] = who.split('/');
    const provider = await startProvider({ sub: '7', preferred_username: person, groups: ['staff', group] });
    console.log(`provider: ${provider.issuer}`);
    const ways = async () => (await (await fetch(at('/api/v1/sign-in'))).json()).oidc;
    await wait('the server to know the provider', ways);
    await page.goto(at('/settings'));
    await page.getByRole('button', { name: 'Sign out' }).first().click();
    const button = page.getByRole('button', { name: (await ways()).label, exact: true });
    await wait('the button of the provider', () => button.count());
    await shot(page, out, `${name}-provider-button`);
    await button.click();
    await wait('the live connection', () => page.locator('.state.live').count());
    equal('the address', page.url(), at('/'));
    await page.goto(at('/settings'));
    await wait('who it is', () => page.locator('.who .strong', { hasText: person }).count());
    equal('the forms for a password', await page.locator('input[type=password]').count(), 0);
    provider.stop();
  },

  async schedule(page, where) {
    const [host, group] = where.split('/');
    await page.goto(hostPath(host));
    const card = page.locator(`[data-group="${group}"]`);
    await wait(`the source group ${group}`, () => card.count());
    await card.getByRole('button', { name: /schedule/i }).first().click();
    await page.getByRole('button', { name: 'Cron', exact: true }).click();
    await page.fill('#schedule-cron', '1 2 3');
    await wait('that this is no schedule', () => page.locator('dialog .preview .tone-warn').count());
    await page.getByRole('button', { name: 'Daily', exact: true }).click();
    await page.fill('#schedule-time', '03:15');
    await wait('the next five times', async () => (await page.locator('dialog .preview li').count()) === 5);
    await page.getByRole('button', { name: 'Save schedule' }).click();
    await wait('that it is saved', () => page.locator('dialog .saved .strong').count());
    await shot(page, out, `${name}-schedule-editor`);
    await page.keyboard.press('Escape');
    await page.goto(at('/schedules'));
    await wait('the schedule in the calendar', () => page.locator(`[data-schedule="${where}"]`).count());
  },

  /** Walks from the top of the newest snapshot to a file. */
  async browse(page, what) {
    const [host, path] = parts(what);
    await openNewest(page, host);
    await walk(page, path);
  },

  /** Finds a file by a part of its name, wherever it lies. */
  async search(page, what) {
    const [host, words, path] = parts(what);
    await openNewest(page, host);
    await page.getByRole('searchbox', { name: 'Search this snapshot' }).fill(words);
    await page.keyboard.press('Enter');
    await wait(`${path} being found`, () => page.locator('tr[data-entry]', { hasText: path }).count());
  },

  /** Compares the two newest snapshots; this path must be among what changed. */
  async compare(page, what) {
    const [host, path] = parts(what);
    await page.goto(at(`/hosts/${encodeURIComponent(host)}/snapshots`));
    const boxes = page.locator('tr[data-snapshot] input[type=checkbox]');
    await wait('two snapshots', async () => (await boxes.count()) >= 2);
    await boxes.nth(0).check();
    await boxes.nth(1).check();
    await page.getByRole('link', { name: 'Compare' }).click();
    await wait(`${path} having changed`, () => page.locator('tr[data-change]', { hasText: path }).count());
  },

  /** Restores a file or folder into another folder, having looked first. */
  async restore(page, what) {
    const [host, path, target] = parts(what);
    await openNewest(page, host);
    await walk(page, path);
    await page.locator(`tr[data-entry="${path.split('/').at(-1)}"] input`).check();
    await page.getByRole('link', { name: 'Restore 1 item' }).click();
    await page.fill('#restore-directory', target);
    // An old restic cannot look first, and the form says so; nothing needs to be chosen for either.
    const look = page.getByRole('button', { name: 'Look first' });
    const able = await look.isEnabled();
    equal('the rule for files that are there', await page.inputValue('#restore-overwrite'), able ? 'if_changed' : 'always');
    equal('a reason for what is greyed out', await page.locator('#restore-careless').count(), able ? 0 : 1);
    await shot(page, out, `${name}-restore-form`);
    if (able) await look.click();
    const go = page.getByRole('button', { name: able ? 'Restore now' : 'Restore without looking first' });
    await wait('the end of the look', () => go.count());
    await shot(page, out, `${name}-restore-look`);
    await go.click();
    await wait('the exact place', () => page.locator('.copyable', { hasText: `${target}${path}` }).count());
    equal('the end', await status(page), 'succeeded');
  },

  /** Downloads a file; its content is compared with the one at `original`. */
  async download(page, what) {
    const [host, path, original] = parts(what);
    await openNewest(page, host);
    await walk(page, path);
    const link = page.locator(`tr[data-entry="${path.split('/').at(-1)}"] a`);
    const [download] = await Promise.all([page.waitForEvent('download', { timeout: LIMIT }), link.click()]);
    const [got, wanted] = await Promise.all([readFile(await download.path()), readFile(original)]);
    if (!got.equals(wanted)) throw new Error(`the download has ${got.length} bytes that are not those of ${original}`);
  },

  async alert(page, rule) {
    await page.goto(at('/alerts'));
    const alert = page.locator(`[data-alert][data-rule=${rule}]`).first();
    await wait(`an alert of the rule ${rule}`, () => alert.count());
    await alert.getByRole('button', { name: 'Acknowledge' }).click();
    await wait('it being acknowledged', async () => (await alert.getAttribute('data-state')) === 'acknowledged');
  },

  /** Whatever an agent says is text: on every page that repeats it. */
  async hostile(page, host) {
    const names = async () => {
      await page.waitForTimeout(300);
      equal('what hostile words did', await page.evaluate(() => window.hacked), undefined);
      equal('elements that hostile words made', await page.locator('main script, main img, main iframe, main b.hostile').count(), 0);
    };
    await openNewest(page, host);
    await names();
    for (const path of ['/', '/hosts', `/hosts/${host}`, `/hosts/${host}/snapshots`, '/jobs', '/schedules', '/alerts', '/repositories', '/settings/audit']) {
      await page.goto(at(path));
      await wait('the page', () => page.locator('h1').count());
      await names();
    }
    await page.locator('body').press('Control+k');
    await names();
    await page.keyboard.press('Escape');
    await page.goto(at(`/jobs?host=${host}`));
    await wait('a job', () => page.locator('tr[data-job] a').count());
    await page.locator('tr[data-job] a').first().click();
    await wait('its log', () => page.locator('[role=log] p').count());
    await names();
  },
};

const parts = (text) => text.split(':');

async function openNewest(page, host) {
  await page.goto(at(`/hosts/${encodeURIComponent(host)}/snapshots`));
  const link = page.locator('[data-snapshot] a').first();
  await wait('a snapshot', () => link.count());
  await link.click();
  await wait('its top', () => page.locator('tr[data-entry]').count());
}

async function walk(page, path) {
  const names = path.split('/').filter(Boolean);
  for (const folder of names.slice(0, -1)) {
    const row = page.locator(`tr[data-entry="${folder}"]`);
    await wait(`the folder ${folder}`, () => row.count());
    await row.locator('button').click();
  }
  const file = page.locator(`tr[data-entry="${names.at(-1)}"]`);
  await wait(`the file ${names.at(-1)}`, () => file.count());
  // A name is text, whatever it looks like.
  await wait('its name in full', async () => (await file.innerText()).includes(names.at(-1)));
  equal('what a name did', await page.evaluate(() => window.hacked), undefined);
}

async function run() {
  if (!url || !token || !out || steps.length === 0) throw new Error('usage: node e2e/fleet.mjs URL TOKEN OUTDIR NAME STEP...');
  await mkdir(out, { recursive: true });
  const browser = await launch();
  try {
    const { page, complaints } = await open(browser);
    await signIn(page);
    for (const step of steps) {
      const [word, rest] = [step.slice(0, step.indexOf('=')), step.slice(step.indexOf('=') + 1)];
      if (!STEPS[word]) throw new Error(`there is no step ${word}`);
      try {
        await STEPS[word](page, rest);
      } catch (error) {
        await shot(page, out, `${name}-${word}-failed`).catch(() => undefined);
        throw new Error(`${step}: ${error.message.split('\n')[0]}`);
      }
      await shot(page, out, `${name}-${word}`);
      console.log(`done: ${step}`);
    }
    if (complaints.length > 0) throw new Error(`the browser complained: ${complaints[0]}`);
  } finally {
    await browser.close();
  }
}

try {
  await run();
  console.log('ok: every step is done');
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
