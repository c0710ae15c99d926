// Small hosts and jobs for tests; each test says only what it is about.

import type { Group, Host, Job, Progress, Reason } from '../api/types';

export const NOW = Date.parse('2026-11-21T12:00:00Z');

/** A time so many minutes before the tests' present. */
export function ago(minutes: number): string {
  return new Date(NOW - minutes * 60_000).toISOString();
}

export function aGroup(over: Partial<Group> = {}): Group {
  return {
    name: 'system',
    repository_id: 'r1',
    repository_name: 'vault',
    includes: ['/etc'],
    excludes: [],
    options: {},
    schedule: { id: 's1', cron: '30 2 * * *', time_zone: 'UTC', enabled: true, catch_up: true, jitter_seconds: 0, in_words: 'Every day at 02:30' },
    objective_seconds: 90_000,
    objective_source: 'schedule',
    verdict: { standing: 'protected', reasons: [], restorable_at: ago(60) },
    ...over,
  };
}

export function aReason(code: Reason['code'], over: Partial<Reason> = {}): Reason {
  return { code, message: 'Something is wrong.', action: 'Do something.', ...over };
}

export function aHost(name: string, over: Partial<Host> = {}): Host {
  return {
    id: `id-${name}`,
    name,
    state: 'online',
    hostname: name,
    host_group: '',
    labels: {},
    os: 'linux',
    arch: 'amd64',
    restic_version: '0.18.0',
    groups: [aGroup()],
    last_backup: { job_id: `old-${name}`, group: 'system', status: 'succeeded', finished_at: ago(60) },
    running_jobs: [],
    verdict: { standing: 'protected', reasons: [], restorable_at: ago(60) },
    ...over,
  };
}

export function aJob(id: string, over: Partial<Job> = {}): Job {
  return {
    id,
    host_id: 'id-web-1',
    host_name: 'web-1',
    operation: 'backup' as const,
    group: 'system',
    status: 'running',
    cause: 'manual',
    created_at: ago(5),
    attempt: 1,
    host_online: true,
    cancel_requested: false,
    cancellable: true,
    pausable: true,
    ...over,
  };
}

export function aProgress(percent_done: number, over: Partial<Progress> = {}): Progress {
  return {
    percent_done,
    files_done: 10,
    total_files: 100,
    bytes_done: 1000,
    total_bytes: 10_000,
    throughput_bps: 5000,
    current_files: [],
    error_count: 0,
    ...over,
  };
}
