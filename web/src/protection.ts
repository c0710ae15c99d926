// "Am I protected?" from what the live feed knows. Silence counts as failure: a backup that should
// be there and is not is as bad as one that failed. Pure; the present is an argument.

import { isEnded, type Group, type Host, type Job, type LastBackup, type Status } from './api/types';
import { parse } from './format';
import { newestFirst } from './live/reducer';
import { byName, byText } from './order';

/** From worst to best. A `note` is worth doing and changes no verdict. */
export type Level = 'bad' | 'warn' | 'note' | 'ok';

export type Cause =
  | 'failed'
  | 'interrupted'
  | 'missed'
  | 'overdue'
  | 'never'
  | 'first_running'
  | 'offline'
  | 'stale'
  | 'partial'
  | 'cancelled'
  | 'no_restic'
  | 'no_groups'
  | 'no_schedule'
  | 'pending';

export interface Concern {
  level: Exclude<Level, 'ok'>;
  cause: Cause;
  host: Host;
  group?: string;
  /** Since when, where that is known. */
  since?: string | null;
  jobId?: string;
  /** What the job said itself. */
  message?: string;
  action?: string;
}

export type Standing = 'protected' | 'at_risk' | 'never' | 'pending';

export interface HostVerdict {
  host: Host;
  standing: Standing;
  level: Level;
  concerns: Concern[];
  /** When the newest backup that can be restored ended, where one is known. */
  good?: string;
}

export interface Verdict {
  level: Level;
  /** Enrolled hosts. */
  total: number;
  protected: number;
  at_risk: number;
  never: number;
  pending: number;
  offline: number;
  hosts: HostVerdict[];
  /** All concerns, the worst first. */
  concerns: Concern[];
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How old the newest backup of a host without a schedule may be. */
export const FRESH_WITHOUT_SCHEDULE_MS = 7 * DAY;
/** How long a planned run may be late before it counts as overdue. */
export const LATE_MS = 15 * MINUTE;
/** How long a host may be away before that alone is a danger. */
export const AWAY_MS = DAY;

const RANK: Record<Level, number> = { bad: 0, warn: 1, note: 2, ok: 3 };
const GOOD: ReadonlySet<Status> = new Set(['succeeded', 'partial']);

/** The verdict over a whole fleet. */
export function judge(hosts: Iterable<Host>, jobs: Iterable<Job>, now: number): Verdict {
  const byHost = groupByHost(jobs);
  const verdicts = [...hosts].map((host) => judgeHost(host, byHost.get(host.id) ?? [], now));
  const concerns = verdicts.flatMap((verdict) => verdict.concerns).sort(worstFirst);
  const count = (standing: Standing) => verdicts.filter((it) => it.standing === standing).length;
  return {
    level: worst(verdicts.map((it) => it.level)),
    total: verdicts.length - count('pending'),
    protected: count('protected'),
    at_risk: count('at_risk'),
    never: count('never'),
    pending: count('pending'),
    offline: verdicts.filter((it) => it.host.state === 'offline').length,
    hosts: verdicts,
    concerns,
  };
}

/** The verdict over one host; `jobs` are the known jobs of this host. */
export function judgeHost(host: Host, jobs: readonly Job[], now: number): HostVerdict {
  if (host.state === 'pending') {
    const concern: Concern = { level: 'note', cause: 'pending', host, since: host.created_at };
    return { host, standing: 'pending', level: 'note', concerns: [concern] };
  }
  const good = newestGood(host, jobs);
  const concerns = [
    ...reach(host, now),
    ...coverage(host),
    ...outcomes(host, jobs),
  ];
  // A run that failed is why nothing new came; saying both would count one trouble twice.
  if (!concerns.some((it) => it.level === 'bad')) concerns.push(...freshness(host, jobs, good, now));
  concerns.sort(worstFirst);
  const level = worst(concerns.map((concern) => concern.level));
  return { host, standing: standing(good, level), level, concerns, good };
}

function standing(good: string | undefined, level: Level): Standing {
  if (!good) return 'never';
  return level === 'bad' ? 'at_risk' : 'protected';
}

/** Can the host be heard, and can it work? */
function reach(host: Host, now: number): Concern[] {
  if (host.state === 'offline') {
    const away = now - (parse(host.last_seen_at) ?? 0);
    const level = away > AWAY_MS ? 'bad' : 'warn';
    return [{ level, cause: 'offline', host, since: host.last_seen_at }];
  }
  return host.restic_version ? [] : [{ level: 'bad', cause: 'no_restic', host }];
}

/** Is there anything to back up, and will somebody start it? */
function coverage(host: Host): Concern[] {
  if (host.groups.length === 0) return [{ level: 'warn', cause: 'no_groups', host }];
  return host.groups
    .filter((group) => !group.schedule?.enabled)
    .map((group) => ({ level: 'note', cause: 'no_schedule', host, group: group.name }));
}

/** How did the newest run of each group end? */
function outcomes(host: Host, jobs: readonly Job[]): Concern[] {
  return host.groups.flatMap((group) => {
    const last = newestEnd(host, group, jobs);
    const found = last && OUTCOMES[last.status];
    if (!last || !found) return [];
    const job = jobs.find((it) => it.id === last.job_id);
    return [
      {
        ...found,
        host,
        group: group.name,
        since: last.finished_at,
        jobId: last.job_id,
        message: job?.error?.message,
        action: job?.error?.action,
      },
    ];
  });
}

const OUTCOMES: Partial<Record<Status, { level: 'bad' | 'warn'; cause: Cause }>> = {
  failed: { level: 'bad', cause: 'failed' },
  interrupted: { level: 'bad', cause: 'interrupted' },
  missed: { level: 'bad', cause: 'missed' },
  cancelled: { level: 'warn', cause: 'cancelled' },
  partial: { level: 'warn', cause: 'partial' },
};

/** Is the newest good backup as young as the schedule promises? */
function freshness(host: Host, jobs: readonly Job[], good: string | undefined, now: number): Concern[] {
  if (host.groups.length === 0) return [];
  if (!good) return [neverBackedUp(host, jobs)];
  const late = now - (parse(host.next_backup_at) ?? now) > LATE_MS;
  if (late) return [{ level: 'bad', cause: 'overdue', host, since: host.next_backup_at }];
  const age = now - (parse(good) ?? now);
  const promised = shortestPromise(host.groups);
  if (promised !== undefined) {
    return age > promised ? [{ level: 'bad', cause: 'overdue', host, since: good }] : [];
  }
  return age > FRESH_WITHOUT_SCHEDULE_MS ? [{ level: 'warn', cause: 'stale', host, since: good }] : [];
}

function neverBackedUp(host: Host, jobs: readonly Job[]): Concern {
  const running = jobs.find((job) => job.status === 'running' || job.status === 'paused');
  return running
    ? { level: 'warn', cause: 'first_running', host, group: running.group, jobId: running.id }
    : { level: 'bad', cause: 'never', host, since: host.created_at };
}

/** When the newest backup that can be restored ended; `undefined` when none is known. */
export function newestGood(host: Host, jobs: readonly Job[]): string | undefined {
  const ends = [host.last_backup, ...host.groups.map((group) => group.last_backup), ...jobs.map(endOf)]
    .filter((end): end is LastBackup => !!end && GOOD.has(end.status))
    .map((end) => end.finished_at);
  return ends.sort().at(-1);
}

/** The newest known end of a group's jobs. */
export function newestEnd(host: Host, group: Group, jobs: readonly Job[]): LastBackup | undefined {
  const fromJobs = jobs.filter((job) => job.group === group.name).map(endOf);
  const fromHost = host.last_backup?.group === group.name ? host.last_backup : undefined;
  return [group.last_backup, fromHost, ...fromJobs]
    .filter((end): end is LastBackup => !!end)
    .sort((a, b) => byText(a.finished_at, b.finished_at))
    .at(-1);
}

function endOf(job: Job): LastBackup | undefined {
  if (!isEnded(job.status) || job.operation !== 'backup') return undefined;
  return {
    job_id: job.id,
    group: job.group,
    status: job.status,
    finished_at: job.finished_at ?? job.created_at,
    snapshot_id: job.snapshot_id,
  };
}

/** The shortest age within which one of the enabled schedules promises a new backup. */
function shortestPromise(groups: readonly Group[]): number | undefined {
  const promises = groups
    .filter((group) => group.schedule?.enabled)
    .map((group) => promise(group.schedule?.cron ?? ''));
  return promises.length > 0 ? Math.min(...promises) : undefined;
}

/**
 * The longest pause a cron expression leaves, rounded up to its kind (hour, day, week, month,
 * year), with a quarter of it as slack for the run itself. The server knows the exact times; this
 * only has to notice that nothing comes any more.
 */
export function promise(cron: string): number {
  const [, hour = '*', day = '*', month = '*', weekday = '*'] = cron.trim().split(/\s+/);
  const every = (field: string) => field === '*' || field === '?';
  const span = !every(month)
    ? 366 * DAY
    : !every(day)
      ? 31 * DAY
      : !every(weekday)
        ? 7 * DAY
        : every(hour)
          ? HOUR
          : DAY;
  return span * 1.25;
}

function groupByHost(jobs: Iterable<Job>): Map<string, Job[]> {
  const byHost = new Map<string, Job[]>();
  for (const job of jobs) {
    const known = byHost.get(job.host_id);
    if (known) known.push(job);
    else byHost.set(job.host_id, [job]);
  }
  for (const list of byHost.values()) list.sort(newestFirst);
  return byHost;
}

function worst(levels: readonly Level[]): Level {
  return levels.reduce<Level>((a, b) => (RANK[b] < RANK[a] ? b : a), 'ok');
}

function worstFirst(a: Concern, b: Concern): number {
  return RANK[a.level] - RANK[b.level] || byName(a.host.name, b.host.name);
}
