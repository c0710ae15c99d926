import { expect, test } from 'vitest';

import { DAYS, strip } from './strip';

test('days are counted by how they went, the newest at the right', () => {
  const drawn = strip('gg.wfm');
  expect(drawn.counts).toEqual([['g', 2], ['w', 1], ['f', 1], ['m', 1]]);
  const missed = drawn.paths.find(([letter]) => letter === 'm')?.[1] ?? '';
  expect(Number(/M([\d.]+)/.exec(missed)?.[1])).toBeCloseTo((DAYS - 1) * 7 + 0.7);
});

test('a letter of a newer server, and no days at all, are drawn as nothing due', () => {
  expect(strip('g?').counts).toEqual([['g', 1]]);
  expect(strip('').counts).toEqual([]);
});
