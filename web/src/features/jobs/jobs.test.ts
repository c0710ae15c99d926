import { describe, expect, it } from 'vitest';

import { UNKNOWN } from '../../format';
import { texts } from '../../texts';
import { aJob, ago, aProgress } from '../../test/samples';
import { mergeJobs } from './merge';
import { nearest, plot, roundUp, thin } from './plot';
import { filesOf, fraction, leftOf, remark, speedOf } from './progress';

describe('the speed plot', () => {
  const samples = [0, 10, 20].map((at, i) => ({ at, bytesPerSecond: [0, 100, 50][i] ?? 0 }));
  it('fits its box and ends at its corners', () => {
    const drawn = plot(samples, 200, 100);
    expect(drawn?.top).toBe(100);
    expect(drawn?.line).toBe('M0.0 100.0L100.0 0.0L200.0 50.0');
    expect(drawn?.area).toBe('M0.0 100.0L100.0 0.0L200.0 50.0L200 100L0 100Z');
    expect(nearest(drawn?.points ?? [], 140)?.sample.at).toBe(10);
  });
  it('needs two points', () => expect(plot(samples.slice(0, 1), 200, 100)).toBeUndefined());
  it('of a standstill is a flat line, not a division by zero', () => {
    expect(plot(samples.map((it) => ({ ...it, bytesPerSecond: 0 })), 10, 10)?.line).toBe('M0.0 10.0L5.0 10.0L10.0 10.0');
  });
  it('thins many samples to means', () => {
    const many = Array.from({ length: 1000 }, (_, at) => ({ at, bytesPerSecond: at % 2 === 0 ? 0 : 10 }));
    const few = thin(many, 100);
    expect(few).toHaveLength(100);
    expect(few.every((it) => it.bytesPerSecond === 5)).toBe(true);
    expect(few.at(-1)?.at).toBe(999);
  });
  it.each([[1, 1], [7, 8], [130, 150], [900, 1024], [110 * 1024 ** 2, 150 * 1024 ** 2]])('%d is drawn under %d', (value, top) => expect(roundUp(value)).toBe(top));
});

describe('a job under way', () => {
  it('says why it does not move', () => {
    expect(remark(aJob('j', { status: 'queued', host_online: false }))).toBe(texts.jobs.waitingForHost);
    expect(remark(aJob('j', { status: 'queued' }))).toBe(texts.jobs.waitingForAgent);
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
