// One line to the server for many tabs. Knows no worker and no socket: both are given, so that tests
// drive it. To a tab it behaves as the server does: a snapshot first, then every increment.

import type { LiveEvent } from '../api/types';
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

export class Hub {
  private line: Wire | undefined;
  private who = '';
  private open = false;
  private state: LiveState = EMPTY;
  private readonly tabs = new Set<Tab>();

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
    if (this.state.rev >= 0) tab.message(this.snapshot());
  }

  /** The line ends with the last tab. */
  leave(tab: Tab): void {
    this.tabs.delete(tab);
    if (this.tabs.size === 0) this.end(LOST);
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
    if (typeof data !== 'string' || !this.remember(data)) return this.end(LOST);
    for (const tab of this.tabs) tab.message(data);
  }

  /** False when a tab that comes later could not be told the truth any more. */
  private remember(text: string): boolean {
    try {
      const { state, gap } = apply(this.state, JSON.parse(text) as LiveEvent, this.now());
      this.state = state;
      return !gap;
    } catch {
      return false;
    }
  }

  private snapshot(): string {
    const { rev, hosts, jobs, alerts } = this.state;
    return JSON.stringify({ kind: 'snapshot', rev, hosts: [...hosts.values()], jobs: [...jobs.values()], alerts: [...alerts.values()] });
  }

  private end(code: number): void {
    const line = this.line;
    this.line = undefined;
    this.open = false;
    this.state = EMPTY;
    if (line) {
      line.onopen = line.onmessage = line.onclose = null;
      line.close();
    }
    const tabs = [...this.tabs];
    this.tabs.clear();
    for (const tab of tabs) tab.closed(code);
  }
}
