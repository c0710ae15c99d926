// The logs that this tab follows over the live line. What it has is told to the server as a number;
// everything after that comes once and in order. Pure: the line is given.

import type { LiveEvent, LogEvent, LogGap, LogLine, LogWish } from '../api/types';

/** Who reads a log. */
export interface Reader {
  /** The number of the newest line that is here. */
  last(): number;
  lines(lines: LogLine[], gaps: LogGap[]): void;
  refused(title: string, action: string): void;
}

interface Follow {
  job: string;
  reader: Reader;
}

export function isAboutLog(event: LiveEvent): event is LogEvent {
  return event.kind === 'log' || event.kind === 'log.refused';
}

export class Follows {
  private readonly open = new Map<string, Follow>();
  private count = 0;

  /** `tab` tells this tab's names from those of other tabs on the same line. */
  constructor(
    private readonly tab: string,
    private readonly say: (wish: LogWish) => void,
  ) {}

  /** Follows a log until the answer is called. */
  begin(job: string, reader: Reader): () => void {
    const follow = { job, reader };
    this.ask(follow);
    return () => this.end(follow);
  }

  /** A new line knows of nothing: everything is asked for again, from where it stands. */
  restart(): void {
    const follows = [...this.open.values()];
    this.open.clear();
    for (const follow of follows) this.ask(follow);
  }

  take(event: LogEvent): void {
    const follow = this.open.get(event.follow);
    // Under way when it was asked for anew, or given up.
    if (!follow) return;
    if (event.kind === 'log.refused') {
      this.open.delete(event.follow);
      follow.reader.refused(event.title, event.action);
    } else if (event.after > follow.reader.last()) {
      this.end(follow);
      this.ask(follow);
    } else {
      follow.reader.lines(event.lines, event.gaps);
    }
  }

  /** Each asking has a name of its own, so that answers to an older one are known as such. */
  private ask(follow: Follow): void {
    this.count += 1;
    const name = `${this.tab}.${this.count}`;
    this.open.set(name, follow);
    this.say({ kind: 'log.follow', follow: name, job_id: follow.job, after: follow.reader.last() });
  }

  private end(follow: Follow): void {
    for (const [name, it] of this.open) {
      if (it !== follow) continue;
      this.open.delete(name);
      this.say({ kind: 'log.leave', follow: name });
    }
  }
}
