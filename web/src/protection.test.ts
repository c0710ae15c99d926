import { describe, expect, it } from 'vitest';

import type { Host, Job } from './api/types';
import { judge, judgeHost, promise, type Cause } from './protection';
import { aGroup, aHost, aJob, ago, NOW } from './test/samples';

const causes = (host: Host, jobs: Job[] = []): Cause[] => judgeHost(host, jobs, NOW).concerns.map((it) => it.cause);
const ended = (status: Job['status'], minutes: number, over: Partial<Job> = {}): Job =>
  aJob(`e${minutes}`, { status, finished_at: ago(minutes), created_at: ago(minutes + 1), ...over });

describe('a host', () => {
  it('with a fresh backup and a schedule is protected', () => {
    expect(judgeHost(aHost('web-1'), [], NOW)).toMatchObject({ standing: 'protected', level: 'ok', concerns: [] });
  });

  it('that fell silent is overdue, although nothing failed', () => {
    const quiet = aHost('web-1', { last_backup: { job_id: 'x', group: 'system', status: 'succeeded', finished_at: ago(60 * 31) } });
    expect(judgeHost(quiet, [], NOW)).toMatchObject({ standing: 'at_risk', level: 'bad' });
    expect(causes(quiet)).toEqual(['overdue']);
  });

  it('whose planned run is late is overdue', () => {
    expect(causes(aHost('web-1', { next_backup_at: ago(16) }))).toEqual(['overdue']);
    expect(causes(aHost('web-1', { next_backup_at: ago(14) }))).toEqual([]);
  });

  it('that was never backed up is in danger, until its first backup runs', () => {
    const fresh = aHost('web-1', { last_backup: undefined });
    expect(judgeHost(fresh, [], NOW)).toMatchObject({ standing: 'never', level: 'bad' });
    expect(judgeHost(fresh, [aJob('j1')], NOW)).toMatchObject({ standing: 'never', level: 'warn' });
    expect(causes(fresh, [aJob('j1')])).toEqual(['first_running']);
  });

  it.each(['failed', 'interrupted', 'missed'] as const)('whose newest run was %s is at risk, with the cause once', (status) => {
    const job = ended(status, 5, { error: { code: 'x', message: 'Disk full.', action: 'Make room.' } });
    const verdict = judgeHost(aHost('web-1'), [job], NOW);
    expect(verdict.standing).toBe('at_risk');
    expect(verdict.concerns).toMatchObject([{ cause: status, jobId: job.id, message: 'Disk full.', action: 'Make room.' }]);
  });

  it('is well again when a newer run succeeded', () => {
    expect(causes(aHost('web-1'), [ended('failed', 50), ended('succeeded', 5)])).toEqual([]);
  });

  it('is judged by each source group: one success does not hide the failure of another', () => {
    const host = aHost('web-1', { groups: [aGroup(), aGroup({ name: 'database' })] });
    const jobs = [ended('failed', 30, { group: 'database' }), ended('succeeded', 5)];
    expect(judgeHost(host, jobs, NOW).concerns).toMatchObject([{ cause: 'failed', group: 'database' }]);
  });

  it('needs a look, no more, after a partial or a cancelled run', () => {
    expect(judgeHost(aHost('web-1'), [ended('partial', 5)], NOW)).toMatchObject({ standing: 'protected', level: 'warn' });
    expect(causes(aHost('web-1'), [ended('cancelled', 5)])).toEqual(['cancelled']);
  });

  it('offline needs a look at first and is in danger after a day', () => {
    const away = (minutes: number) => aHost('web-1', { state: 'offline', last_seen_at: ago(minutes) });
    expect(judgeHost(away(30), [], NOW).level).toBe('warn');
    expect(judgeHost(away(60 * 25), [], NOW).level).toBe('bad');
  });

  it('without restic, without groups, without a schedule is told so', () => {
    expect(causes(aHost('web-1', { restic_version: '' }))).toEqual(['no_restic']);
    expect(causes(aHost('web-1', { groups: [] }))).toEqual(['no_groups']);
    const unplanned = aHost('web-1', { groups: [aGroup({ schedule: undefined })] });
    expect(judgeHost(unplanned, [], NOW)).toMatchObject({ standing: 'protected', level: 'note' });
    expect(causes(unplanned)).toEqual(['no_schedule']);
  });

  it('without a schedule goes stale after a week', () => {
    const old = { job_id: 'x', group: 'system', status: 'succeeded', finished_at: ago(60 * 24 * 8) } as const;
    const host = aHost('web-1', { groups: [aGroup({ schedule: undefined })], last_backup: old });
    expect(causes(host)).toEqual(['stale', 'no_schedule']);
  });

  it('not yet enrolled is waited for, not blamed', () => {
    expect(judgeHost(aHost('new', { state: 'pending', last_backup: undefined }), [], NOW)).toMatchObject({ standing: 'pending', level: 'note' });
  });
});

describe('the fleet', () => {
  it('is as well as its worst host, and says the worst first', () => {
    const hosts = [aHost('c'), aHost('b', { state: 'offline', last_seen_at: ago(3) }), aHost('a', { last_backup: undefined }), aHost('p', { state: 'pending' })];
    const verdict = judge(hosts, [], NOW);
    expect(verdict).toMatchObject({ level: 'bad', total: 3, protected: 2, at_risk: 0, never: 1, pending: 1, offline: 1 });
    expect(verdict.concerns.map((it) => it.cause)).toEqual(['never', 'offline', 'pending']);
  });

  it('of nobody is no claim', () => expect(judge([], [], NOW)).toMatchObject({ total: 0, level: 'ok', concerns: [] }));
});

it.each([
  ['15 * * * *', 1.25],
  ['*/5 * * * *', 1.25],
  ['30 2 * * *', 30],
  ['0 4 * * 0', 24 * 7 * 1.25],
  ['0 4 1 * *', 24 * 31 * 1.25],
  ['0 4 1 1 *', 24 * 366 * 1.25],
])('%s promises a backup within %d hours', (cron, hours) => expect(promise(cron)).toBe(hours * 3_600_000));
