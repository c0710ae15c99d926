import { expect, test } from 'vitest';

import { planOf, shareOf } from './plan';

const fields = { cron: ' 0 6 * * 0 ', zone: 'UTC', enabled: true, from: '', until: '', share: '' };

test('a plan says only what was said', () => {
  expect(planOf(fields, 'prune', undefined)).toEqual({ cron: '0 6 * * 0', time_zone: 'UTC', enabled: true });
});

test('a window needs both of its ends', () => {
  expect(planOf({ ...fields, from: '22:00' }, 'prune', undefined).window).toBeUndefined();
  const window = { from: '22:00', until: '06:00' };
  expect(planOf({ ...fields, ...window }, 'prune', undefined).window).toEqual(window);
});

test('a check reads a share of the data, all of it, or none', () => {
  expect(planOf({ ...fields, share: 5 }, 'check', undefined).parameters).toEqual({ read_data: { percent: 5 } });
  expect(planOf({ ...fields, share: '100' }, 'check', undefined).parameters).toEqual({ read_data: 'all' });
  expect(planOf({ ...fields, share: null }, 'check', { read_data: 'all' }).parameters).toBeUndefined();
  expect(shareOf({ parameters: { read_data: { percent: 2.5 } } })).toBe('2.5');
  expect(shareOf({ parameters: { read_data: 'all' } })).toBe('100');
  expect(shareOf({ parameters: null })).toBe('');
});

test('what the form has no field for stays', () => {
  expect(planOf(fields, 'prune', { max_unused: 'unlimited' }).parameters).toEqual({ max_unused: 'unlimited' });
  expect(planOf(fields, 'forget', { x: 1 }).parameters).toBeUndefined();
});
