import { expect, test } from 'vitest';

import { find, SHOWN, type Command } from './palette';

const command = (text: string, also?: string): Command => ({ id: text, kind: 'host', text, also, run: () => {} });
const names = (commands: Command[]) => commands.map((it) => it.text);

test('what begins with the words comes before what only has them', () => {
  const all = [command('my-db'), command('db-1'), command('adb')];
  expect(names(find(all, 'db'))).toEqual(['db-1', 'my-db', 'adb']);
});

test('every word counts, also those of the small print', () => {
  const all = [command('web-1', 'debian paris'), command('web-2', 'debian oslo')];
  expect(names(find(all, 'web oslo'))).toEqual(['web-2']);
  expect(find(all, 'web berlin')).toEqual([]);
});

test('signs that mean something elsewhere are only signs, and a large fleet gives a short list', () => {
  expect(names(find([command('a.b*c')], '.b*'))).toEqual(['a.b*c']);
  expect(find(Array.from({ length: 500 }, (_, index) => command(`node-${index}`)), 'node').length).toBe(SHOWN);
});
