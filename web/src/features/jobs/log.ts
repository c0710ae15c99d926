// A job's log as the page shows it: lines in order, and a mark where lines are missing. Pure.

import type { LogGap, LogLine } from '../../api/types';
import { plain } from '../../format';

export type Entry =
  | { kind: 'line'; seq: number; ts: string; stream: LogLine['stream']; text: string }
  | { kind: 'gap'; seq: number; count: number };

export interface LogState {
  lines: readonly LogLine[];
  gaps: readonly LogGap[];
  /** The number of the newest line. */
  last: number;
}

export const NO_LOG: LogState = { lines: [], gaps: [], last: 0 };

/** Lines kept in the page; the whole log stays on the server. */
export const LINES_KEPT = 5000;

/** The log with one more page of answers; lines seen already are not taken twice. */
export function extend(log: LogState, lines: readonly LogLine[], gaps: readonly LogGap[]): LogState {
  const fresh = lines.filter((line) => line.seq > log.last);
  if (fresh.length === 0 && gaps.length === 0) return log;
  const known = new Set(log.gaps.map((gap) => gap.from));
  return {
    lines: [...log.lines, ...fresh].slice(-LINES_KEPT),
    gaps: [...log.gaps, ...gaps.filter((gap) => !known.has(gap.from))],
    last: fresh.at(-1)?.seq ?? log.last,
  };
}

/** What is shown: each line's text without escape codes, gaps between, only lines with `search`. */
export function entries(log: LogState, search: string): Entry[] {
  const wanted = search.trim().toLowerCase();
  const lines: Entry[] = log.lines
    .map((line) => ({ kind: 'line' as const, seq: line.seq, ts: line.ts, stream: line.stream, text: plain(line.payload) }))
    .filter((line) => !wanted || line.text.toLowerCase().includes(wanted));
  if (wanted) return lines;
  const first = log.lines[0]?.seq ?? 0;
  const gaps: Entry[] = log.gaps
    .filter((gap) => gap.to >= first && gap.to >= gap.from)
    .map((gap) => ({ kind: 'gap', seq: gap.from, count: gap.to - gap.from + 1 }));
  return gaps.length === 0 ? lines : [...lines, ...gaps].sort((a, b) => a.seq - b.seq);
}
