import { describe, expect, it } from 'vitest';

import { UNKNOWN } from '../../format';
import { texts } from '../../texts';
import { aJob, ago, aProgress } from '../../test/samples';
import { mergeJobs } from './merge';
import { filesOf, fraction, leftOf, remark, speedOf } from './progress';

describe('a job under way', () => {
  it('says why it does not move', () => {
    expect(remark(aJob('j', { status: 'queued', host_online: false }))).toBe(texts.jobs.waitingForHost);
    expect(remark(aJob('j', { status: 'queued' }))).toBe(texts.jobs.waitingForAgent);
    expect(remark(aJob('j', { status: 'queued', attempt: 2, not_before: '2026-11-21T10:00:00Z' }))).toBe(texts.jobs.waitingForTry(2));
    expect(remark(aJob('j', { status: 'queued', waiting_for: { job_id: 'p', operation: 'prune', host_name: 'web-2' } }))).toContain('prune on web-2');
    expect(remark(aJob('j', { host_online: false, progress: aProgress(0.5) }))).toBe(texts.jobs.disconnected);
    expect(remark(aJob('j', { cancel_requested: true }))).toBe(texts.jobs.cancelling);
    expect(remark(aJob('j'))).toBe(texts.jobs.scanning);
    expect(remark(aJob('j', { progress: aProgress(0.5) }))).toBe('');
  });
  it('has an unknown bar while it scans, an empty one while it waits', () => {
    expect(fraction(aJob('j'))).toBeUndefined();
    expect(fraction(aJob('j', { status: 'queued' }))).toBe(0);
    expect(fraction(aJob('j', { progress: aProgress(0.4) }))).toBe(0.4);
  });
  it('leaves empty what an old restic does not say', () => {
    expect(filesOf(aJob('j', { progress: aProgress(0.4, { total_files: 0 }) }))).toBe('10 files');
    expect(leftOf(aJob('j', { progress: aProgress(0.4) }))).toBe(UNKNOWN);
    expect(leftOf(aJob('j', { progress: aProgress(0.4, { eta_seconds: 61 }) }))).toBe('1 min 1 s left');
    expect(speedOf(aJob('j', { status: 'paused', progress: aProgress(0.4) }))).toBe(UNKNOWN);
  });
});

describe('a list of jobs', () => {
  it('takes the live word over the fetched one and shows each job once, newest first', () => {
    const fetched = [aJob('a', { created_at: ago(9) }), aJob('b', { created_at: ago(7), status: 'running' })];
    const live = new Map([aJob('b', { created_at: ago(7), status: 'failed' }), aJob('c', { created_at: ago(1) }), aJob('d', { host_id: 'other' })].map((it) => [it.id, it]));
    const jobs = mergeJobs(fetched, live, (job) => job.host_id === 'id-web-1');
    expect(jobs.map((it) => `${it.id} ${it.status}`)).toEqual(['c running', 'b failed', 'a running']);
  });
  it('drops a fetched job that no longer fits', () => {
    const live = new Map([['a', aJob('a', { status: 'succeeded' })]]);
    expect(mergeJobs([aJob('a')], live, (job) => job.status === 'running')).toEqual([]);
  });
});
