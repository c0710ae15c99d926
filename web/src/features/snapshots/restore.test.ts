import { expect, test } from 'vitest';

import { orderOf, places, restoredOf } from './restore';

test('an order is read from the parameters of its job', () => {
  const order = orderOf({ kind: 'restore', snapshot_id: 'abc', paths: ['/etc'], target: { directory: '/srv/r' }, dry_run: true });
  expect(order).toEqual({ snapshot_id: 'abc', paths: ['/etc'], target: { directory: '/srv/r' }, overwrite: 'always', dry_run: true, verify: false });
  expect(orderOf({ kind: 'backup' })).toBeUndefined();
  expect(orderOf(null)).toBeUndefined();
});

test('the exact places are told', () => {
  const order = { snapshot_id: 'abc', paths: ['/etc/fstab', '/home'], target: { directory: '/srv/r' }, overwrite: 'never' as const };
  expect(places(order)).toEqual(['/srv/r/etc/fstab', '/srv/r/home']);
  expect(places({ ...order, target: 'original' })).toEqual(['/etc/fstab', '/home']);
  expect(places({ ...order, paths: [] })).toEqual(['/srv/r']);
});

test('a result without a target is none', () => {
  expect(restoredOf({ snapshot_count: 1 })).toBeUndefined();
  expect(restoredOf({ target: '/', dry_run: false, error_count: 0 })?.target).toBe('/');
});
