import { expect, test } from 'vitest';

import { aHost } from '../../test/samples';
import { carelessness, orderOf, places, restoredOf } from './restore';

test('an order is read from the parameters of its job', () => {
  const order = orderOf({ kind: 'restore', snapshot_id: 'abc', paths: ['/etc'], target: { directory: '/srv/r' }, dry_run: true });
  expect(order).toEqual({ snapshot_id: 'abc', paths: ['/etc'], target: { directory: '/srv/r' }, overwrite: 'always', dry_run: true, verify: false });
  expect(orderOf({ kind: 'backup' })).toBeUndefined();
  expect(orderOf(null)).toBeUndefined();
});

test('an old restic can only replace files, and the reason names both versions', () => {
  const of = (restic_version: string) => carelessness(aHost('web-1', { restic_version }));
  for (const old of ['0.14.0', '0.16.4', '0.9.6']) expect(of(old)).toContain(`restic ${old}`);
  expect(of('0.14.0')).toContain('0.17');
  for (const able of ['0.17.0', '0.18.1', '1.0.0', '']) expect(of(able)).toBeUndefined();
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
