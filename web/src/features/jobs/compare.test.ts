import { expect, test } from 'vitest';

import { ago, aJob } from '../../test/samples';
import { compare, runBefore } from './compare';

const run = (id: string, minutes: number, over = {}) =>
  aJob(id, { status: 'succeeded', created_at: ago(minutes), started_at: ago(minutes), finished_at: ago(minutes - 2), stats: { data_added: minutes }, ...over });

test('the run before is the newest good one of the same group', () => {
  const job = run('now', 10);
  const jobs = [run('later', 5), job, run('failed', 20, { status: 'failed' }), run('other', 30, { group: 'photos' }), run('before', 40), run('older', 50)];
  expect(runBefore(job, jobs)?.id).toBe('before');
});

test('only what both runs tell is compared', () => {
  const compared = compare(run('now', 10, { stats: { data_added: 5, files_new: 1 } }), run('before', 40));
  expect(compared).toEqual([{ measure: 'took', now: 120, before: 120 }, { measure: 'data_added', now: 5, before: 40 }]);
});
