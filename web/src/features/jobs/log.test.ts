import { expect, it } from 'vitest';

import type { LogLine } from '../../api/types';
import { ago } from '../../test/samples';
import { entries, extend, LINES_KEPT, NO_LOG } from './log';

const line = (seq: number, payload = `line ${seq}`): LogLine => ({ seq, ts: ago(0), stream: 'stdout', payload });

it('an overlapping answer adds only what is new', () => {
  const log = extend(extend(NO_LOG, [line(1), line(2)], []), [line(2), line(3)], []);
  expect(log.lines.map((it) => it.seq)).toEqual([1, 2, 3]);
  expect(log.last).toBe(3);
});

it('an answer with nothing new leaves the log identical', () => {
  const log = extend(NO_LOG, [line(1)], []);
  expect(extend(log, [line(1)], [])).toBe(log);
});

it('a gap stands where its lines would, once', () => {
  const gap = { from: 2, to: 4 };
  const log = extend(extend(NO_LOG, [line(1), line(5)], [gap]), [line(6)], [gap]);
  expect(entries(log, '').map((it) => [it.kind, it.seq])).toEqual([['line', 1], ['gap', 2], ['line', 5], ['line', 6]]);
  expect(entries(log, '')[1]).toMatchObject({ count: 3 });
});

it('lines lose escape codes, and the search sees what is shown', () => {
  const log = extend(NO_LOG, [line(1, '\u001b[31mer\u001b[0mror: disk'), line(2)], [{ from: 3, to: 3 }]);
  expect(entries(log, 'ERROR')).toMatchObject([{ text: 'error: disk' }]);
});

it('an endless log keeps its newest lines', () => {
  const log = extend(NO_LOG, Array.from({ length: LINES_KEPT + 3 }, (_, i) => line(i + 1)), [{ from: 2, to: 2 }]);
  expect(log.lines).toHaveLength(LINES_KEPT);
  expect(log.lines[0]?.seq).toBe(4);
  expect(entries(log, '')[0]).toMatchObject({ kind: 'line', seq: 4 });
});
