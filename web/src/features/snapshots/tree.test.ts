import { expect, test } from 'vitest';

import { byName } from '../../order';
import { crumbs, inOrder, join, modeText, nameable, placed } from './tree';

test('a path is taken apart and put together again', () => {
  expect(crumbs('/')).toEqual([]);
  expect(crumbs('/home/anna b')).toEqual([{ name: 'home', path: '/home' }, { name: 'anna b', path: '/home/anna b' }]);
  expect(join('/', 'etc')).toBe('/etc');
  expect(join('/etc', 'ssh')).toBe('/etc/ssh');
});

test('a restored path is told exactly', () => {
  expect(placed('/srv/restored/', '/etc/fstab')).toBe('/srv/restored/etc/fstab');
  expect(placed('/srv/restored', '/')).toBe('/srv/restored');
  expect(placed('/', '/etc/fstab')).toBe('/etc/fstab');
});

test('a mode reads as ls writes it', () => {
  expect(modeText(0o755)).toBe('rwxr-xr-x');
  expect(modeText(0o640)).toBe('rw-r-----');
});

test('folders come first and a broken name is known', () => {
  const entries = [{ kind: 'file', name: 'a' }, { kind: 'directory', name: 'z10' }, { kind: 'directory', name: 'z9' }];
  expect(inOrder(entries, byName).map((it) => it.name)).toEqual(['z9', 'z10', 'a']);
  expect(nameable('a\ufffdb')).toBe(false);
});
