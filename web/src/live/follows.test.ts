import { expect, test } from 'vitest';

import type { LogLine, LogWish } from '../api/types';
import { ago } from '../test/samples';
import { Follows } from './follows';

const line = (seq: number): LogLine => ({ seq, ts: ago(0), stream: 'stdout', payload: `line ${seq}` });

function world(from = 0) {
  const said: LogWish[] = [];
  const read: number[] = [];
  const refusals: string[] = [];
  const follows = new Follows('tab', (wish) => void said.push(wish));
  const stop = follows.begin('job', {
    last: () => read.at(-1) ?? from,
    lines: (lines) => void read.push(...lines.map((it) => it.seq)),
    refused: (title) => void refusals.push(title),
  });
  const log = (follow: string, after: number, ...numbers: number[]) =>
    follows.take({ kind: 'log', follow, after, last: numbers.at(-1) ?? after, lines: numbers.map(line), gaps: [] });
  return { said, read, refusals, follows, stop, log };
}

test('a log is followed from the last line that is here', () => {
  const { said, read, log } = world(40);
  expect(said).toEqual([{ kind: 'log.follow', follow: 'tab.1', job_id: 'job', after: 40 }]);
  log('tab.1', 40, 41, 42);
  expect(read).toEqual([41, 42]);
});

test('on a new line it goes on where it stands, and late words of the old one count no more', () => {
  const { said, read, follows, log } = world();
  log('tab.1', 0, 1, 2);
  follows.restart();
  expect(said.at(-1)).toEqual({ kind: 'log.follow', follow: 'tab.2', job_id: 'job', after: 2 });
  log('tab.1', 2, 3);
  log('tab.2', 2, 3, 4);
  expect(read).toEqual([1, 2, 3, 4]);
});

test('lines that do not follow what is here are asked for again', () => {
  const { said, read, log } = world();
  log('tab.1', 5, 6);
  expect(read).toEqual([]);
  expect(said.slice(1)).toEqual([
    { kind: 'log.leave', follow: 'tab.1' },
    { kind: 'log.follow', follow: 'tab.2', job_id: 'job', after: 0 },
  ]);
});

test('who stops reading is told of nothing more', () => {
  const { said, read, stop, log } = world();
  stop();
  log('tab.1', 0, 1);
  expect(read).toEqual([]);
  expect(said.at(-1)).toEqual({ kind: 'log.leave', follow: 'tab.1' });
});

test('a refusal is said once and not asked for again', () => {
  const { said, refusals, follows } = world();
  follows.take({ kind: 'log.refused', follow: 'tab.1', code: 'job_not_found', title: 'There is no such job.', action: 'List them.' });
  follows.restart();
  expect(refusals).toEqual(['There is no such job.']);
  expect(said).toHaveLength(1);
});
