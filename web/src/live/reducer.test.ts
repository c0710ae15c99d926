import { describe, expect, it } from 'vitest';

import type { FleetEvent } from '../api/types';
import { aHost, aJob, ago, aProgress, NOW } from '../test/samples';
import { apply, applyAll, EMPTY, ENDED_KEPT, SAMPLES_KEPT, type LiveState } from './reducer';

const snapshot: FleetEvent = {
  kind: 'snapshot',
  rev: 10,
  hosts: [aHost('web-1'), aHost('db-1')],
  jobs: [aJob('j1', { progress: aProgress(0.2) })],
};
const start = apply(EMPTY, snapshot, NOW).state;
const progress = (rev: number, part: number, id = 'j1'): FleetEvent => ({
  kind: 'job.progress',
  rev,
  job_id: id,
  progress: aProgress(part),
});

describe('a snapshot', () => {
  it('may come in parts, of which none may be missing and none be left from a line that was lost', () => {
    const part = (number: number, name: string): FleetEvent => ({ kind: 'snapshot.part', number, hosts: [aHost(name)] });
    const end: FleetEvent = { kind: 'snapshot', rev: 3, parts: 2, hosts: [aHost('c')], jobs: [] };
    const names = (events: FleetEvent[]) => {
      const { state, gap } = applyAll(start, events, NOW);
      return gap ? 'gap' : [...state.hosts.values()].map((host) => host.name).join(' ');
    };
    expect(names([part(1, 'a'), part(2, 'b'), end])).toBe('a b c');
    expect(names([part(1, 'lost'), part(1, 'a'), part(2, 'b'), end])).toBe('a b c');
    expect(names([part(1, 'lost'), { ...end, parts: 0 }])).toBe('c');
    expect(names([part(2, 'b'), end])).toBe('gap');
    expect(names([part(1, 'a'), part(2, 'b')])).toBe('web-1 db-1');
  });

  it('is the whole truth', () => {
    expect(start.rev).toBe(10);
    expect([...start.hosts.values()].map((host) => host.name)).toEqual(['web-1', 'db-1']);
    expect(start.jobs.get('j1')?.progress?.percent_done).toBe(0.2);
  });

  it('replaces what was there, also with a lower revision after a restart of the server', () => {
    const { state, gap } = apply(start, { kind: 'snapshot', rev: 2, hosts: [aHost('new')], jobs: [] }, NOW);
    expect(gap).toBe(false);
    expect(state.rev).toBe(2);
    expect([...state.hosts.keys()]).toEqual(['id-new']);
    expect(state.jobs.size).toBe(0);
  });

  it('keeps the drawn speed of jobs that still exist and forgets that of others', () => {
    const moving = applyAll(start, [progress(11, 0.3)], NOW).state;
    expect(moving.speeds.get('j1')).toHaveLength(1);
    expect(apply(moving, { ...snapshot, rev: 12 }, NOW).state.speeds.get('j1')).toHaveLength(1);
    expect(apply(moving, { kind: 'snapshot', rev: 12, hosts: [], jobs: [] }, NOW).state.speeds.size).toBe(0);
  });
});

describe('increments', () => {
  it('change only the host they name and leave jobs identical', () => {
    const { state } = apply(start, { kind: 'host', rev: 11, host: aHost('db-1', { state: 'offline' }) }, NOW);
    expect(state.hosts.get('id-db-1')?.state).toBe('offline');
    expect(state.hosts.get('id-web-1')).toBe(start.hosts.get('id-web-1'));
    expect(state.jobs).toBe(start.jobs);
  });

  it('never change the state they are applied to', () => {
    apply(start, { kind: 'host.removed', rev: 11, host_id: 'id-db-1' }, NOW);
    apply(start, progress(11, 0.9), NOW);
    expect(start.hosts.has('id-db-1')).toBe(true);
    expect(start.jobs.get('j1')?.progress?.percent_done).toBe(0.2);
  });

  it('add and remove hosts', () => {
    const added = apply(start, { kind: 'host', rev: 11, host: aHost('new') }, NOW).state;
    expect(added.hosts.has('id-new')).toBe(true);
    expect(apply(added, { kind: 'host.removed', rev: 12, host_id: 'id-new' }, NOW).state.hosts.has('id-new')).toBe(false);
  });

  it('may skip revisions, because progress is conflated', () => {
    const { state, gap } = apply(start, progress(57, 0.5), NOW);
    expect(gap).toBe(false);
    expect(state.jobs.get('j1')?.progress?.percent_done).toBe(0.5);
    expect(state.rev).toBe(57);
  });

  it('with a revision already seen change nothing', () => {
    const later = apply(start, progress(20, 0.5), NOW).state;
    const { state, gap } = apply(later, progress(20, 0.1), NOW);
    expect(gap).toBe(false);
    expect(state.jobs.get('j1')?.progress?.percent_done).toBe(0.5);
  });

  it('before any snapshot are a gap', () => {
    expect(apply(EMPTY, progress(1, 0.5), NOW).gap).toBe(true);
  });

  it('about a job never told are a gap', () => {
    expect(apply(start, progress(11, 0.5, 'unknown'), NOW).gap).toBe(true);
  });

  it('of a kind this page does not know are passed over', () => {
    const { state, gap } = apply(start, { kind: 'weather', rev: 11 } as unknown as FleetEvent, NOW);
    expect(gap).toBe(false);
    expect(state.rev).toBe(11);
    expect(state.hosts).toBe(start.hosts);
  });
});

describe('a job', () => {
  it('keeps its bar when a change of state brings no progress', () => {
    const { state } = apply(start, { kind: 'job', rev: 11, job: aJob('j1', { status: 'paused' }) }, NOW);
    expect(state.jobs.get('j1')).toMatchObject({ status: 'paused', progress: { percent_done: 0.2 } });
  });

  it('loses its bar when it ends, and late progress does not bring it back', () => {
    const ended = apply(start, { kind: 'job', rev: 11, job: aJob('j1', { status: 'succeeded' }) }, NOW).state;
    expect(ended.jobs.get('j1')?.progress).toBeUndefined();
    const { state, gap } = apply(ended, progress(12, 0.99), NOW);
    expect(gap).toBe(false);
    expect(state.jobs.get('j1')?.progress).toBeUndefined();
    expect(state.jobs.get('j1')?.status).toBe('succeeded');
  });

  it('collects its speed with the time given, up to a limit', () => {
    let state: LiveState = start;
    for (let i = 0; i < SAMPLES_KEPT + 5; i += 1) state = apply(state, progress(11 + i, 0.3), NOW + i).state;
    const samples = state.speeds.get('j1');
    expect(samples).toHaveLength(SAMPLES_KEPT);
    expect(samples?.at(-1)).toEqual({ at: NOW + SAMPLES_KEPT + 4, bytesPerSecond: 5000 });
  });
});

describe('a batch', () => {
  it('comes to the same as its events one by one', () => {
    const events: FleetEvent[] = [
      progress(11, 0.4),
      { kind: 'host', rev: 12, host: aHost('web-1', { state: 'offline' }) },
      { kind: 'ping' },
      { kind: 'job', rev: 13, job: aJob('j2', { status: 'queued' }) },
      progress(14, 0.6),
      { kind: 'host.removed', rev: 15, host_id: 'id-db-1' },
    ];
    const oneByOne = events.reduce((state, event) => apply(state, event, NOW).state, start);
    expect(applyAll(start, events, NOW).state).toEqual(oneByOne);
  });

  it('stops at a gap and keeps what came before it', () => {
    const { state, gap } = applyAll(start, [progress(11, 0.4), progress(12, 0.5, 'unknown'), progress(13, 0.9)], NOW);
    expect(gap).toBe(true);
    expect(state.jobs.get('j1')?.progress?.percent_done).toBe(0.4);
  });
});

it('a page open for weeks keeps the newest ended jobs and every job under way', () => {
  const events: FleetEvent[] = Array.from({ length: ENDED_KEPT * 2 + 10 }, (_, i) => ({
    kind: 'job',
    rev: 11 + i,
    job: aJob(`e${i}`, { status: 'succeeded', created_at: ago(10_000 - i) }),
  }));
  const { state } = applyAll(start, events, NOW);
  expect(state.jobs.size).toBe(ENDED_KEPT + 1);
  expect(state.jobs.has('j1')).toBe(true);
  expect(state.jobs.has('e0')).toBe(false);
  expect(state.jobs.has(`e${ENDED_KEPT * 2 + 9}`)).toBe(true);
});
