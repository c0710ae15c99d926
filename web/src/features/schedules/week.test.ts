import { expect, test } from 'vitest';

import type { Planned } from '../../api/types';
import { busiest, week } from './week';

const now = new Date(2026, 10, 21, 12, 30).getTime();
const planned = (host: string, ...runs: Date[]): Planned =>
  ({ host_id: host, host_name: host, group: 'system', repository_name: 'vault', runs: runs.map((at) => at.toISOString()), schedule: {} }) as unknown as Planned;

test('a run stands in its hour of its day', () => {
  const days = week([planned('a', new Date(2026, 10, 22, 2, 30)), planned('b', new Date(2026, 10, 22, 2, 5))], now, 7);
  expect(days.map((day) => day.hours.length)).toEqual([24, 24, 24, 24, 24, 24, 24]);
  expect(days[1]?.hours[2]?.runs.map((run) => run.host)).toEqual(['b', 'a']);
  expect(busiest(days)?.runs.length).toBe(2);
});

test('what is beyond the days is left out, and no runs have no busiest hour', () => {
  const days = week([planned('a', new Date(2026, 11, 24))], now, 7);
  expect(busiest(days)).toBeUndefined();
});
