// Browser tests of the built page against the mock: what is awkward to bring about with a real fleet.
//
//   npm run build && npm run e2e

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';

import { launch, open, overflows, PHONE, until } from './browser.mjs';
import { startMock } from './start-mock.mjs';
import { longestTask } from './trace.mjs';

const HOSTILE = '<img src=x onerror="window.hacked=1">\u202e"\'><script>window.hacked=1</script>';

const SCREENS = ['/', '/hosts', '/hosts/db-1', '/hosts/db-1/snapshots', '/jobs', '/repositories', '/repositories/vault', '/add-repository', '/add-host', '/hosts/db-1/groups/add', '/hosts/db-1/groups/system/edit', '/schedules', '/alerts', '/alerts/channels', '/alerts/rules', '/settings', '/settings/users', '/settings/tokens', '/settings/audit', '/nowhere'];

let opened = [];

/** A page that is closed after its story; what the browser said about it counts. */
async function watched(browser, settings) {
  const it = await open(browser, settings);
  opened.push(it);
  return it;
}

async function closeAll() {
  const said = opened.flatMap((it) => it.complaints);
  await Promise.all(opened.map((it) => it.context.close()));
  opened = [];
  if (said.length > 0) throw new Error(`the browser complained: ${said[0]}`);
}

async function signedIn(browser, mock, settings) {
  const it = await watched(browser, settings);
  await it.page.goto(`${mock.url}/#token=hf_api_mock`);
  await until('the live connection', () => it.page.locator('.state.live').count());
  return it;
}

function equal(what, found, wanted) {
  if (found !== wanted) throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Addresses of screens that hold a random id. */
async function screensOf(page) {
  const ask = (path) => page.evaluate(async (it) => (await fetch(`/api/v1${it}`)).json(), path);
  const [{ snapshots }, { alerts }] = [await ask('/hosts/web-1/snapshots'), await ask('/alerts')];
  const [newer, older] = snapshots.filter((it) => it.repository_id === snapshots[0].repository_id);
  const query = `repository=${newer.repository_id}`;
  const snapshot = `/hosts/web-1/snapshots/${newer.id}`;
  return [...SCREENS, `${snapshot}?${query}`, `${snapshot}/restore?${query}`, `/hosts/web-1/diff?${query}&from=${older.id}&to=${newer.id}`, `/alerts/${alerts[0].id}`];
}

/** Presses Tab until what has the focus is called so; what has it must be seen to have it. */
async function tabTo(page, name) {
  for (let i = 0; i < 300; i += 1) {
    await page.keyboard.press('Tab');
    const found = await page.evaluate(() => {
      const it = document.activeElement;
      const { outlineStyle, boxShadow } = getComputedStyle(it);
      return { name: (it.getAttribute('aria-label') ?? it.innerText ?? '').trim(), seen: outlineStyle !== 'none' || boxShadow !== 'none' };
    });
    if (found.name !== name) continue;
    equal(`the mark of the focus on “${name}”`, found.seen, true);
    return;
  }
  throw new Error(`“${name}” cannot be reached with the keyboard`);
}

const stories = {
  async 'a wrong token is refused with what to do, a right one signs in'(browser, mock) {
    const { page } = await watched(browser);
    await page.goto(mock.url);
    await page.getByRole('button', { name: 'API token' }).click();
    await page.fill('#token', 'hf_api_wrong');
    await page.keyboard.press('Enter');
    await until('the refusal', () => page.getByText('This token is not known here.').count());
    await page.fill('#token', 'hf_api_mock');
    await page.keyboard.press('Enter');
    await until('the overview', () => page.locator('.verdict').count());
  },

  async 'a token in the address signs in and leaves the address'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    equal('the address', page.url(), `${mock.url}/`);
  },

  async 'the identity provider signs in, and why it does not is told'(browser, mock) {
    const { page } = await watched(browser);
    await page.goto(mock.url);
    await page.getByRole('button', { name: 'Example ID' }).click();
    await until('the overview', () => page.locator('.verdict').count());
    equal('the address', page.url(), `${mock.url}/`);
    await page.getByRole('button', { name: 'Sign out' }).first().click();
    await until('the sign-in page', () => page.locator('#password').count());
    for (const [query, told] of [['code=other&state=s', 'none of their groups has a role here'], ['error=access_denied&error_description=evil', 'did not let you in']]) {
      await page.goto(`${mock.url}/sign-in/oidc?${query}`);
      await until(`the refusal of ${query}`, () => page.getByText(told).count());
      equal('the address', page.url(), `${mock.url}/`);
    }
  },

  async 'signing out ends at the sign-in page'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.getByRole('button', { name: 'Sign out' }).first().click();
    await until('the sign-in page', () => page.locator('#password').count());
    await page.reload();
    await until('the sign-in page after a reload', () => page.locator('#password').count());
  },

  async 'what an agent of another system cannot do is greyed out and says why'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/git-1`);
    await until('what it lacks', () => page.locator('[data-lacks~=pause]').count());
    equal('backing up', await page.getByRole('button', { name: 'Back up now' }).count() > 0, true);
    await page.locator('li[data-job] a, tr[data-job] a').first().click();
    const pause = page.getByRole('button', { name: 'Pause', exact: true });
    await until('the pause button', () => pause.count());
    equal('the pause button', await pause.isDisabled(), true);
    equal('its reason', await pause.getAttribute('title'), 'This host’s agent cannot pause a job: it speaks backupy.');
    equal('cancelling', await page.getByRole('button', { name: 'Cancel job' }).isDisabled(), false);
  },

  async 'a bar moves by itself'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    const bar = page.locator('li[data-job] .fill').first();
    const width = () => bar.evaluate((fill) => fill.getBoundingClientRect().width);
    const first = await width();
    await until('a movement of the bar', async () => (await width()) > first);
  },

  async 'a host goes offline and comes back without a reload'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    const state = () => page.locator('tr[data-host=web-1]').getAttribute('data-state');
    await mock.steer('offline/web-1');
    await until('web-1 being offline', async () => (await state()) === 'offline');
    await mock.steer('online/web-1');
    await until('web-1 being online', async () => (await state()) === 'online');
  },

  async 'a lost server is said, its last words stay, and it comes back by itself'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await mock.steer('deaf');
    await until('the warning', () => page.getByText('Not live right now.').count());
    await until('hosts still shown', () => page.locator('tr[data-host=web-1]').count());
    await mock.steer('hear');
    await until('being live again', () => page.locator('.state.live').count(), 30_000);
    equal('the warning', await page.getByText('Not live right now.').count(), 0);
  },

  async 'adding a host ends in one command and turns green when the agent arrives'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/add-host`);
    await page.fill('#host-name', '-bad');
    await page.keyboard.press('Enter');
    await until('the refusal of a bad name', () => page.getByText('This name cannot be used.').count());
    await page.fill('#host-name', 'fresh-1');
    await page.keyboard.press('Enter');
    await until('the command', () => page.locator('.copyable code').count());
    const command = await page.locator('.copyable code').innerText();
    if (!/^echo hf_enr_\S+ \\\s+\| holdfast-agent enroll --server http\S+ --token-file - /.test(command)) throw new Error(`the command is ${command}`);
    await mock.steer('enrol/fresh-1');
    await until('the arrival', () => page.getByText('fresh-1 is connected.').count());
    await page.getByRole('link', { name: 'Add a source group' }).click();
    await page.fill('#group-name', 'documents');
    await page.fill('#group-includes', 'relative/path');
    await page.getByRole('button', { name: 'Add source group' }).click();
    await until('the refusal of a relative path', () => page.getByText('is not an absolute path').count());
    await page.fill('#group-includes', '/srv/documents');
    await page.getByRole('button', { name: 'Add source group' }).click();
    await until('the new source group', () => page.locator('[data-group=documents]').count());
  },

  async 'a backup is started, paused, resumed and cancelled'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/web-1`);
    await page.getByRole('button', { name: 'Back up now' }).first().click();
    const status = (word) => until(`the job being ${word}`, () => page.locator(`[data-status=${word}]`).count());
    await status('running');
    await page.getByRole('button', { name: 'Pause' }).click();
    await status('paused');
    await page.getByRole('button', { name: 'Resume' }).click();
    await status('running');
    await page.getByRole('button', { name: 'Cancel job' }).click();
    await page.getByRole('button', { name: 'Keep it running' }).click();
    equal('the dialog', await page.locator('dialog').count(), 0);
    await page.getByRole('button', { name: 'Cancel job' }).click();
    await page.getByRole('button', { name: 'Cancel the backup' }).click();
    await status('cancelled');
  },

  async 'a log grows without being asked for, and goes on where it stood after the line was lost'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    let asked = 0;
    page.on('request', (request) => (asked += /\/log\?/.test(request.url()) ? 1 : 0));
    await page.goto(`${mock.url}/jobs?status=running`);
    await page.locator('tr[data-job] a').first().click();
    await until('the log', () => page.locator('[role=log] p').count());
    const lines = () => page.locator('[role=log] p').count();
    const before = await lines();
    await until('more lines', async () => (await lines()) > before, 30_000);
    await mock.steer('drop');
    await until('the line being lost', () => page.locator('.state.reconnecting').count());
    const lost = await lines();
    await until('more lines after the loss', async () => (await lines()) > lost, 30_000);
    equal('how often the log was asked for', asked, 1);
    const id = page.url().split('/').at(-1);
    const { lines: all } = await page.evaluate(async (job) => (await fetch(`/api/v1/jobs/${job}/log`)).json(), id);
    const shown = () => page.locator('[role=log] p:not(.gap) span').allInnerTexts();
    await until('the page having what the server has', async () => (await shown()).length >= all.length);
    const words = all.map((line) => line.payload.replaceAll(/\u001b\[\d+m/g, ''));
    equal('what the page shows', (await shown()).slice(0, all.length).join('\n'), words.join('\n'));
  },

  async 'a schedule is set, refused with a reason, and removed'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/build-7`);
    await page.getByRole('button', { name: 'Set schedule' }).click();
    await page.getByRole('button', { name: 'Cron' }).click();
    await page.fill('#schedule-cron', '1 2 3');
    await page.getByRole('button', { name: 'Save schedule' }).click();
    await until('the refusal', () => page.locator('dialog .problem').count());
    await page.getByRole('button', { name: 'Daily' }).click();
    await page.fill('#schedule-time', '03:15');
    await page.getByRole('button', { name: 'Save schedule' }).click();
    await until('the next times', () => page.locator('dialog .preview li').count());
    await until('that it is saved', () => page.locator('dialog .saved .strong').count());
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Edit schedule' }).click();
    await page.getByRole('button', { name: 'Remove schedule' }).click();
    await until('the schedule being gone', () => page.getByRole('button', { name: 'Set schedule' }).count());
  },

  async 'the list is searched with the keyboard, and the address keeps the search'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts`);
    await page.keyboard.press('/');
    await page.keyboard.type('db-');
    await until('two hosts', async () => (await page.locator('tr[data-host]').count()) === 2);
    await page.reload();
    await until('two hosts after a reload', async () => (await page.locator('tr[data-host]').count()) === 2);
  },

  async 'hostile words of an agent stay words'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await mock.post('/hosts/web-1/groups', { name: HOSTILE, repository: 'vault', includes: [`/${HOSTILE}`], excludes: [HOSTILE] });
    for (const path of ['/', '/hosts', '/hosts/web-1', '/hosts/web-1/groups/add', '/hosts/web-1/snapshots', '/jobs', '/schedules', '/alerts', '/repositories/vault']) {
      await page.goto(mock.url + path);
      await until('the page', () => page.locator('h1').count());
      await until('the live connection', () => page.locator('.state.live').count());
    }
    await page.goto(`${mock.url}/hosts/web-1/snapshots`);
    await page.locator('[data-snapshot] a').first().click();
    await page.locator('tr[data-entry=etc] button').click();
    await until('the hostile file', () => page.getByText('window.hacked=1').count());
    await page.keyboard.press('Control+k');
    await until('the palette', () => page.locator('[role=option]').count());
    await page.keyboard.press('Escape');
    await page.goto(`${mock.url}/jobs?status=failed`);
    await page.locator('tr[data-job] a').first().click();
    await until('the log', () => page.getByText('<script>alert(1)</script>').count());
    equal('what the words did', await page.evaluate(() => window.hacked), undefined);
    equal('scripts in the page', await page.locator('main script, main img').count(), 0);
    await mock.post(`/hosts/web-1/groups/${encodeURIComponent(HOSTILE)}`, undefined, 'DELETE');
  },

  async 'a name and a password sign in, and a code where one is asked for'(browser, mock) {
    const { page } = await watched(browser);
    await page.goto(mock.url);
    await page.fill('#name', 'tomas');
    await page.fill('#password', 'wrong');
    await page.keyboard.press('Enter');
    await until('the refusal', () => page.getByText('Name or password is not right.').count());
    await page.fill('#password', 'mock');
    await page.keyboard.press('Enter');
    await until('the code being asked for', () => page.locator('#code:focus').count());
    await page.keyboard.type('123456');
    await page.keyboard.press('Enter');
    await until('the overview', () => page.locator('.verdict').count());
  },

  async 'the first visit makes the administrator'(browser) {
    const fresh = await startMock('--setup');
    try {
      const { page } = await watched(browser);
      await page.goto(fresh.url);
      await until('the setup', () => page.locator('#setup-code').count());
      await page.fill('#setup-code', 'WRONG');
      await page.fill('#setup-name', 'mira');
      await page.fill('#setup-password', 'correct horse battery');
      await page.fill('#setup-again', 'correct horse');
      await page.keyboard.press('Enter');
      await until('the two being told apart', () => page.getByText('The two passwords differ.').count());
      await page.fill('#setup-again', 'correct horse battery');
      await page.keyboard.press('Enter');
      await until('the refusal', () => page.getByText('is not the one the server printed').count());
      await page.fill('#setup-code', 'MOCK-CODE');
      await page.keyboard.press('Enter');
      await until('the overview', () => page.locator('.verdict').count());
    } finally {
      fresh.stop();
    }
  },

  async 'two tabs share one line, and both survive its loss'(browser, mock) {
    const lines = async () => Number(await (await fetch(`${mock.url}/mock/lines`)).text());
    const { page, context } = await signedIn(browser, mock);
    const before = await lines();
    const other = await context.newPage();
    await other.goto(mock.url);
    await until('the other tab being live', () => other.locator('.state.live').count());
    equal('the number of lines', await lines(), before);
    await mock.steer('drop');
    for (const tab of [page, other]) {
      await until('a movement after the loss', async () => {
        const fill = tab.locator('li[data-job] .fill').first();
        const width = await fill.evaluate((it) => it.getBoundingClientRect().width);
        return (await fill.evaluate((it) => new Promise((done) => setTimeout(() => done(it.getBoundingClientRect().width), 500)))) !== width;
      }, 30_000);
    }
    await page.close();
    await mock.steer('offline/web-1');
    await until('the tab that is left hearing on', async () => (await other.locator('tr[data-host=web-1]').getAttribute('data-state')) === 'offline');
    await mock.steer('online/web-1');
  },

  async 'an alert is acknowledged and silenced, a channel is added and tried'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/alerts`);
    const alert = page.locator('[data-alert][data-state=open]').first();
    await until('an open alert', () => alert.count());
    const id = await alert.getAttribute('data-alert');
    const same = page.locator(`[data-alert="${id}"]`);
    await same.getByRole('button', { name: 'Acknowledge' }).click();
    await until('it being acknowledged', async () => (await same.getAttribute('data-state')) === 'acknowledged');
    await same.getByRole('button', { name: 'Silence' }).click();
    await page.fill('#silence-reason', 'the disk is on its way');
    await page.getByRole('button', { name: 'Silence it' }).click();
    await until('the silence', () => page.getByText('the disk is on its way').count());
    await page.goto(`${mock.url}/alerts/channels`);
    await page.getByRole('button', { name: 'Add channel' }).first().click();
    await page.selectOption('#channel-kind', 'ntfy');
    await page.fill('#channel-name', 'phone');
    await page.fill('#channel-url', 'https://ntfy.example.net');
    await page.fill('#channel-topic', 'backups');
    await page.locator('dialog').getByRole('button', { name: 'Add channel' }).click();
    const channel = page.locator('[data-channel=phone]');
    await until('the channel', () => channel.count());
    await channel.getByRole('button', { name: 'Send a test' }).click();
    await until('the answer', () => channel.getByText('It has arrived.').count());
    await channel.getByRole('button', { name: 'Remove' }).click();
    await page.locator('dialog').getByRole('button', { name: 'Remove' }).click();
    await until('it being gone', async () => (await channel.count()) === 0);
  },

  async 'the palette finds a host and the keys lead everywhere'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('db-2');
    await until('the host being offered', () => page.locator('[role=option][aria-selected=true]', { hasText: 'db-2' }).count());
    await page.keyboard.press('Enter');
    await until('its page', () => page.locator('.page[data-host=db-2]').count());
    equal('dialogs', await page.locator('dialog').count(), 0);
    await page.keyboard.press('g');
    await page.keyboard.press('a');
    await until('the alerts', () => page.locator('h1', { hasText: 'Alerts' }).count());
    await page.keyboard.press('?');
    await until('the list of keys', () => page.locator('dialog kbd').count());
    await page.keyboard.press('Escape');
    await until('it being closed', async () => (await page.locator('dialog').count()) === 0);
    await page.keyboard.press('n');
    await until('the field for a name', () => page.locator('#host-name:focus').count());
    equal('what the key wrote', await page.inputValue('#host-name'), '');
  },

  async 'a backup is begun and cancelled without a mouse'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.keyboard.press('g');
    await page.keyboard.press('h');
    await until('the hosts', () => page.locator('tr[data-host=db-2]').count());
    await tabTo(page, 'db-2');
    await page.keyboard.press('Enter');
    await until('the source group', () => page.locator('[data-group=database]').count());
    await tabTo(page, 'Back up now');
    await page.keyboard.press('Enter');
    await until('the running job', () => page.locator('[data-status=running]').count());
    await tabTo(page, 'Cancel job');
    await page.keyboard.press('Enter');
    await until('the question', () => page.locator('dialog').count());
    await tabTo(page, 'Cancel the backup');
    await page.keyboard.press('Enter');
    await until('the job being cancelled', () => page.locator('[data-status=cancelled]').count());
  },

  async 'a folder is walked, a file found, and two snapshots compared'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/web-1/snapshots`);
    await until('snapshots', () => page.locator('[data-snapshot]').count());
    await page.locator('[data-snapshot] input').nth(0).check();
    await page.locator('[data-snapshot] input').nth(1).check();
    await page.getByRole('link', { name: 'Compare' }).click();
    await until('changes', () => page.locator('[data-change=removed]').count());
    await page.goto(`${mock.url}/hosts/web-1/snapshots`);
    await page.locator('[data-snapshot] a').first().click();
    for (const folder of ['home', 'anna', 'Pictures']) {
      await until(folder, () => page.locator(`tr[data-entry="${folder}"] button`).count());
      await page.locator(`tr[data-entry="${folder}"] button`).click();
    }
    await until('the first thousand of many', () => page.getByText('1,000 entries so far').count());
    await page.getByRole('button', { name: 'Show more' }).click();
    await until('all of them', () => page.getByText('1,800 entries').count());
    await page.goBack();
    await until('the folder before', () => page.locator('tr[data-entry=Documents]').count());
    await page.getByRole('searchbox').fill('*.odt');
    await page.keyboard.press('Enter');
    await until('the match', () => page.locator('tr[data-entry="Thesis.odt"]').count());
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('tr[data-entry="Thesis.odt"] a').click()]);
    equal('the name of the download', download.suggestedFilename(), 'Thesis.odt');
  },

  async 'a restore looks first, and a reload on the way loses nothing'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/web-1/snapshots`);
    await page.locator('[data-snapshot] a').first().click();
    await until('the top', () => page.locator('tr[data-entry=etc]').count());
    await page.locator('tr[data-entry=etc] input').check();
    await page.getByRole('link', { name: 'Restore 1 item' }).click();
    await page.fill('#restore-directory', 'srv');
    await page.getByRole('button', { name: 'Look first' }).click();
    await until('the refusal of a relative path', () => page.getByText('This is not an absolute path.').count());
    await page.fill('#restore-directory', '/srv/restored');
    await page.getByRole('button', { name: 'Look first' }).click();
    await until('what would happen', () => page.getByText('What would happen').count(), 30_000);
    await page.reload();
    await until('what would happen, after a reload', () => page.getByText('/srv/restored/etc').count(), 30_000);
    await page.getByRole('button', { name: 'Restore now' }).click();
    await until('the exact place', () => page.locator('.copyable', { hasText: '/srv/restored/etc' }).count(), 30_000);
  },

  async 'an old restic is asked for what it can, and the reason is told'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/hosts/web-3/snapshots`);
    await page.locator('[data-snapshot] a').first().click();
    await until('the top', () => page.locator('tr[data-entry=etc]').count());
    await page.getByRole('link', { name: 'Restore everything' }).click();
    await until('the form', () => page.locator('#restore-overwrite').count());
    equal('the rule', await page.inputValue('#restore-overwrite'), 'always');
    equal('rules that are greyed out', await page.locator('#restore-overwrite option[disabled]').count(), 3);
    await until('the reason', () => page.getByText('This host has restic 0.16.4').count());
    equal('looking first', await page.getByRole('button', { name: 'Look first' }).isDisabled(), true);
    await page.fill('#restore-directory', '/srv/restored');
    await page.keyboard.press('Enter');
    await until('the exact place', () => page.locator('.copyable', { hasText: '/srv/restored' }).count(), 30_000);
  },

  async 'people and tokens come and go, and the audit chain is checked'(browser, mock) {
    const { page } = await signedIn(browser, mock);
    await page.goto(`${mock.url}/settings/users`);
    await page.getByRole('button', { name: 'Add user' }).click();
    await page.fill('#user-name', 'nina');
    await page.fill('#user-password', 'a few unrelated words');
    await page.locator('dialog').getByRole('button', { name: 'Add user' }).click();
    const user = page.locator('[data-user=nina]');
    await until('the user', () => user.count());
    await user.getByRole('button', { name: 'Remove' }).click();
    await page.locator('dialog').getByRole('button', { name: 'Remove' }).click();
    await until('the user being gone', async () => (await user.count()) === 0);
    await page.goto(`${mock.url}/settings/tokens`);
    await page.getByRole('button', { name: 'Make a token' }).click();
    await page.fill('#token-name', 'ci');
    await page.getByRole('button', { name: 'Make token' }).click();
    await until('the token', () => page.locator('.copyable', { hasText: 'hf_api_' }).count());
    await page.getByRole('button', { name: 'Close' }).click();
    await page.goto(`${mock.url}/settings/audit`);
    await page.getByRole('button', { name: 'Check the chain' }).click();
    await until('the answer', () => page.getByText('The chain of 240 entries is whole.').count());
  },

  async 'no screen is wider than a phone'(browser, mock) {
    const { page } = await signedIn(browser, mock, { viewport: PHONE });
    for (const path of SCREENS) {
      await page.goto(mock.url + path);
      await until(`a heading at ${path}`, () => page.locator('h1').count());
      if (await overflows(page)) throw new Error(`${path} is wider than a phone`);
    }
  },

  async 'axe finds nothing serious on any screen, dark or light'(browser) {
    // A world of its own, in which jobs are still running.
    const mock = await startMock();
    const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    const found = [];
    for (const colorScheme of ['light', 'dark']) {
      const settings = { colorScheme, bypassCSP: true, reducedMotion: 'reduce' };
      const look = async (page, what) => {
        await until(`a heading at ${what}`, () => page.locator('h1').count());
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        const serious = violations.filter((it) => ['serious', 'critical'].includes(it.impact));
        found.push(...serious.flatMap(({ help, nodes }) => nodes.map((node) => `${what} (${colorScheme}): ${help}: ${node.html} ${node.failureSummary.replaceAll('\n', ' ')}`)));
      };
      const outside = await watched(browser, settings);
      await outside.page.goto(mock.url);
      await until('the sign-in', () => outside.page.locator('#name').count());
      await look(outside.page, 'the sign-in');
      const { page } = await signedIn(browser, mock, settings);
      const jobs = ['running', 'failed'].map((status) => `/jobs?status=${status}`);
      for (const path of [...(await screensOf(page)), ...jobs]) {
        await page.goto(mock.url + path);
        await until('the live connection', () => page.locator('.state.live').count());
        if (jobs.includes(path)) await page.locator('tr[data-job] a').first().click();
        if (path.includes('/snapshots/')) await until('the snapshot', () => page.locator('tr[data-entry], #restore-overwrite').count());
        await look(page, path);
      }
      await page.keyboard.press('Control+k');
      await until('the palette', () => page.locator('[role=option]').count());
      await look(page, 'the palette');
    }
    for (const line of found.slice(0, 20)) console.log(`  ${line}`);
    mock.stop();
    equal('the number of findings', found.length, 0);
  },

  async 'ten thousand hosts and two hundred running jobs stay smooth'(browser) {
    const mock = await startMock('--hosts', '10000', '--running', '200');
    try {
      const { page } = await signedIn(browser, mock);
      const arrival = await longestTask(browser, page, async () => {
        await page.goto(`${mock.url}/hosts`);
        await until('the table', () => page.locator('tr[data-host]').count(), 60_000);
        await page.waitForTimeout(1500);
      });
      console.log(`  longest task while the fleet arrives: ${arrival.processor} ms of processor time, ${arrival.clock} ms by the clock`);
      const tasks = await longestTask(browser, page, async () => {
        // Ten rows in each frame: as fast as a wheel is turned.
        for (let i = 0; i < 120; i += 1) {
          await page.mouse.wheel(0, 580);
          await page.evaluate(() => new Promise(requestAnimationFrame));
        }
      });
      console.log(`  longest task while scrolling: ${tasks.processor} ms of processor time, ${tasks.clock} ms by the clock`);
      // 50 ms is the aim on a quiet machine. By the processor's time, because this one does other
      // things too; the bound only catches work that grows with the fleet.
      if (tasks.processor > 150) throw new Error(`a task of ${tasks.processor} ms blocked the page`);
      const rows = await page.locator('tr[data-host]').count();
      if (rows === 0 || rows > 150) throw new Error(`${rows} rows are drawn`);
    } finally {
      mock.stop();
    }
  },

  async 'the first visit is small and live soon'(browser, mock) {
    const { page } = await watched(browser);
    let script = 0;
    page.on('response', async (response) => {
      if (/\.(js|css)$/.test(new URL(response.url()).pathname)) script += gzipSync(await response.body().catch(() => '')).length;
    });
    const began = Date.now();
    await page.goto(`${mock.url}/#token=hf_api_mock`);
    await until('the live connection', () => page.locator('.state.live').count());
    const liveAfter = Date.now() - began;
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    console.log(`  ${Math.round(script / 1024)} KiB of script and style compressed, first paint after ${Math.round(paint)} ms, live after ${liveAfter} ms with the sign-in`);
    if (script > 250 * 1024) throw new Error(`${script} bytes of compressed script are too many`);
  },

};

const wanted = process.argv[2] ?? '';
const browser = await launch();
const mock = await startMock();
let failed = 0;
for (const [name, story] of Object.entries(stories).filter(([it]) => it.includes(wanted))) {
  try {
    try {
      await story(browser, mock);
    } finally {
      await closeAll();
    }
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${error.message.split('\n')[0]}`);
  }
}
mock.stop();
await browser.close();
process.exitCode = failed > 0 ? 1 : 0;
