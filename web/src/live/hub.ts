// One line to the server for many tabs. Knows no worker and no socket: both are given, so that tests
// drive it. To a tab it behaves as the server does: a snapshot first, then every increment.

import type { LogWish } from '../api/types';
import { readEvent } from './event';
import { isAboutLog } from './follows';
import { apply, EMPTY, type LiveState } from './reducer';
import type { Wire } from './socket';

/** A tab, as the hub sees it. */
export interface Tab {
  opened(): void;
  message(text: string): void;
  closed(code: number): void;
}

/** What a tab is closed with when somebody else has signed in in this browser. */
export const OTHER_PERSON = 4001;
const LOST = 4000;
const HOSTS_PER_PART = 500;

export class Hub {
  private line: Wire | undefined;
  private who = '';
  private open = false;
  private state: LiveState = EMPTY;
  private readonly tabs = new Set<Tab>();
  /** Whose each followed log is: nobody else is told of its lines. */
  private readonly readers = new Map<string, Tab>();

  constructor(
    private readonly dial: () => Wire,
    private readonly now: () => number,
  ) {}

  get size(): number {
    return this.tabs.size;
  }

  /** Lets a tab in. The line belongs to the person it was opened for; another one gets a new line. */
  join(tab: Tab, who: string): void {
    if (this.line && who !== this.who) this.end(OTHER_PERSON);
    this.tabs.add(tab);
    if (!this.line) return this.connect(who);
    if (this.open) tab.opened();
    if (this.state.rev >= 0) for (const text of this.snapshot()) tab.message(text);
  }

  /** The line ends with the last tab. */
  leave(tab: Tab): void {
    this.tabs.delete(tab);
    if (this.tabs.size === 0) return this.end(LOST);
    for (const [follow, reader] of this.readers) {
      if (reader === tab) this.wish({ kind: 'log.leave', follow }, tab);
    }
  }

  /** Passes on what a tab says to the server. */
  say(tab: Tab, text: string): void {
    if (this.tabs.has(tab)) this.wish(JSON.parse(text) as LogWish, tab);
  }

  private wish(wish: LogWish, tab: Tab): void {
    if (wish.kind === 'log.follow') this.readers.set(wish.follow, tab);
    else this.readers.delete(wish.follow);
    this.line?.send(JSON.stringify(wish));
  }

  private connect(who: string): void {
    this.who = who;
    const line = this.dial();
    this.line = line;
    line.onopen = () => {
      this.open = true;
      for (const tab of this.tabs) tab.opened();
    };
    line.onmessage = ({ data }) => this.receive(data);
    line.onclose = ({ code }) => this.end(code);
  }

  private receive(data: unknown): void {
    const event = readEvent(data);
    if (!event) return this.end(LOST);
    if (isAboutLog(event)) return this.readers.get(event.follow)?.message(data as string);
    const { state, gap } = apply(this.state, event, this.now());
    this.state = state;
    // A tab that comes later could not be told the truth any more.
    if (gap) return this.end(LOST);
    for (const tab of this.tabs) tab.message(data as string);
  }

  /** In parts, as the server does it: a tab reads each at a time of its own. */
  private *snapshot(): Generator<string> {
    const { rev, hosts, jobs, alerts } = this.state;
    const all = [...hosts.values()];
    let parts = 0;
    while (all.length > HOSTS_PER_PART) {
      parts += 1;
      yield JSON.stringify({ kind: 'snapshot.part', number: parts, hosts: all.splice(0, HOSTS_PER_PART) });
    }
    yield JSON.stringify({ kind: 'snapshot', rev, parts, hosts: all, jobs: [...jobs.values()], alerts: [...alerts.values()] });
  }

  private end(code: number): void {
    const line = this.line;
    this.line = undefined;
    this.open = false;
    this.state = EMPTY;
    this.readers.clear();
    if (line) {
      line.onopen = line.onmessage = line.onclose = null;
      line.close();
    }
    const tabs = [...this.tabs];
    this.tabs.clear();
    for (const tab of tabs) tab.closed(code);
  }
}
