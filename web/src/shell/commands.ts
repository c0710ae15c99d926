// What can be gone to or done from anywhere.

import { cannot } from '../abilities';
import { api } from '../api/client';
import { fleet } from '../fleet.svelte';
import { plain } from '../format';
import { to } from '../paths';
import { router } from '../router.svelte';
import { session } from '../session.svelte';
import { texts } from '../texts';
import { theme, type Theme } from '../theme.svelte';
import type { Command } from './palette';

const THEMES: Theme[] = ['system', 'light', 'dark'];

/** Goes from one theme to the next. */
export function turnTheme(): void {
  theme.choose(THEMES[(THEMES.indexOf(theme.current) + 1) % THEMES.length] ?? 'system');
}

/** As the fleet is now; made when the palette opens. */
export function commands(): Command[] {
  return [...screens(), ...actions(), ...running(), ...hosts()];
}

const go = (path: string) => () => router.go(path);

function screens(): Command[] {
  const n = texts.nav;
  const all: [string, string, boolean?][] = [
    [n.overview, to.overview()],
    [n.hosts, to.hosts()],
    [n.jobs, to.jobs()],
    [n.schedules, to.schedules()],
    [n.repositories, to.repositories()],
    [n.alerts, to.alerts()],
    [texts.alerts.tabs.channels, to.channels()],
    [texts.alerts.tabs.rules, to.rules()],
    [n.settings, to.settings()],
    [texts.settings.tabs.users, to.users(), true],
    [texts.settings.tabs.tokens, to.tokens(), true],
    [texts.settings.tabs.audit, to.audit(), true],
  ];
  return all
    .filter(([, , admin]) => !admin || session.mayAdmin)
    .map(([text, path]) => ({ id: `s${path.replaceAll('/', '-')}`, kind: 'screen', text, run: go(path) }));
}

function actions(): Command[] {
  const found: Command[] = [
    { id: 'a-theme', kind: 'action', text: texts.theme.label, also: THEMES.map((it) => texts.theme[it]).join(' '), run: turnTheme },
    { id: 'a-out', kind: 'action', text: texts.account.signOut, run: () => void session.signOut() },
  ];
  if (session.mayAdmin) {
    found.unshift(
      { id: 'a-host', kind: 'action', text: texts.hosts.add, run: go(to.hostAdd()) },
      { id: 'a-repository', kind: 'action', text: texts.repositories.add, run: go(to.repositoryAdd()) },
    );
  }
  return found;
}

function running(): Command[] {
  return fleet.active.slice(0, 200).map((job) => ({
    id: `j-${job.id}`,
    kind: 'job',
    text: `${job.host_name} / ${plain(job.group) || texts.operations[job.operation]?.noun}`,
    also: texts.status[job.status],
    run: go(to.job(job.id)),
  }));
}

function hosts(): Command[] {
  return fleet.hosts.flatMap((host) => [
    { id: `h-${host.id}`, kind: 'host', text: host.name, also: plain(`${host.hostname} ${host.os} ${texts.snapshots.title}`), run: go(to.host(host.name)) } as Command,
    ...(session.mayOperate && !cannot(host, 'backup') ? host.groups : []).map((group): Command => ({
      id: `b-${host.id}-${group.name.replaceAll(/\W/g, '-')}`,
      kind: 'action',
      text: texts.palette.backUp(host.name, plain(group.name)),
      run: () => void api.backUp(host.id, group.name).then(({ job_id }) => router.go(to.job(job_id))).catch(() => router.go(to.host(host.name))),
    })),
  ]);
}
