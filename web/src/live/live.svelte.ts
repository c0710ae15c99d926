// The one live feed of this page. Events are gathered and applied once per frame.

import type { FleetEvent, LiveEvent } from '../api/types';
import { at } from '../paths';
import { Follows, isAboutLog, type Reader } from './follows';
import { applyAll, EMPTY, type LiveState } from './reducer';
import { openLine } from './shared';
import { LiveSocket, type Phase } from './socket';

const FRAME_MS = 60;

class Live {
  phase = $state<Phase>('stopped');
  /** When the newest word from the server came, by this browser's clock. */
  heardAt = $state<number | undefined>(undefined);
  hosts = $state.raw(EMPTY.hosts);
  jobs = $state.raw(EMPTY.jobs);
  speeds = $state.raw(EMPTY.speeds);
  alerts = $state.raw(EMPTY.alerts);
  /** Whether there ever was a snapshot; before that the lists are unknown, not empty. */
  known = $state(false);

  private state: LiveState = EMPTY;
  private waiting: FleetEvent[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private onRefused: () => void = () => {};
  private who = '';

  private readonly socket = new LiveSocket(
    {
      open: () => openLine(liveAddress(), this.who),
      random: Math.random,
      after: (milliseconds, run) => {
        const id = setTimeout(run, milliseconds);
        return () => clearTimeout(id);
      },
    },
    {
      event: (event) => this.take(event),
      phase: (phase) => this.become(phase),
      refused: () => this.onRefused(),
    },
  );

  /** `who` is signed in: nobody else's line is shared. */
  start(who: string, onRefused: () => void): void {
    this.who = who;
    this.onRefused = onRefused;
    this.socket.start();
    addEventListener('online', this.hurry);
    document.addEventListener('visibilitychange', this.hurry);
  }

  stop(): void {
    removeEventListener('online', this.hurry);
    document.removeEventListener('visibilitychange', this.hurry);
    this.socket.stop();
    this.waiting = [];
    this.publish(EMPTY);
    this.known = false;
    this.heardAt = undefined;
  }

  /** Follows a job's log until the answer is called. While the line is lost, the log stands still. */
  follow(job: string, reader: Reader): () => void {
    return this.follows.begin(job, reader);
  }

  private readonly follows = new Follows(Math.random().toString(36).slice(2), (wish) => this.socket.say(wish));

  private become(phase: Phase): void {
    this.phase = phase;
    if (phase === 'live') this.follows.restart();
  }

  private readonly hurry = (): void => {
    if (!document.hidden) this.socket.hurry();
  };

  private take(event: LiveEvent): boolean {
    this.heardAt = Date.now();
    if (event.kind === 'ping') return true;
    if (isAboutLog(event)) {
      this.follows.take(event);
      return true;
    }
    // A snapshot says all that came before it, and more surely.
    if (event.kind === 'snapshot') this.waiting = [];
    this.waiting.push(event);
    if (event.kind === 'snapshot' || event.kind === 'snapshot.part') return this.flush();
    this.timer ??= setTimeout(() => {
      if (!this.flush()) this.socket.resync();
    }, FRAME_MS);
    return true;
  }

  private flush(): boolean {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { state, gap } = applyAll(this.state, this.waiting.splice(0), Date.now());
    this.publish(state);
    this.known = state.rev >= 0;
    return !gap;
  }

  private publish(state: LiveState): void {
    this.state = state;
    this.hosts = state.hosts;
    this.jobs = state.jobs;
    this.speeds = state.speeds;
    this.alerts = state.alerts;
  }
}

function liveAddress(): string {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return `${scheme}//${location.host}${at.live()}`;
}

export const live = new Live();
