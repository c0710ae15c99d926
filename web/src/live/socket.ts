// One WebSocket that comes back by itself. Knows nothing of hosts and jobs; everything from
// outside (socket, timers, chance) is given, so that tests drive it without waiting.

import type { LiveEvent } from '../api/types';
import { readEvent } from './event';
import { OTHER_PERSON } from './hub';

export type Phase = 'connecting' | 'live' | 'reconnecting' | 'stopped';

export interface Wire {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface World {
  open(): Wire;
  random(): number;
  after(milliseconds: number, run: () => void): () => void;
}

export interface Handlers {
  /** An event that could be read. Returns false when it does not follow what is known. */
  event(event: LiveEvent): boolean;
  phase(phase: Phase): void;
  /** A dial ended before it opened, or somebody else signed in: who one is should be asked again. */
  refused(): void;
}

/** What the server closes with when the sign-in has ended. */
export const SIGNED_OUT = 4401;
export const DELAY_MIN_MS = 500;
export const DELAY_MAX_MS = 10_000;
/** The server pings every 20 s; this long without a word means nobody is there. */
export const SILENCE_MS = 45_000;
export const DIAL_MS = 10_000;

/** Full jitter above a floor: 0.5 s to a ceiling that doubles up to 10 s. */
export function delay(attempt: number, random: number): number {
  const ceiling = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** (attempt + 1));
  return DELAY_MIN_MS + random * (ceiling - DELAY_MIN_MS);
}

export class LiveSocket {
  private wire: Wire | undefined;
  private attempt = 0;
  private heard = false;
  private cancelTimer: () => void = () => {};
  private stopped = true;

  constructor(
    private readonly world: World,
    private readonly handlers: Handlers,
  ) {}

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.attempt = 0;
    this.handlers.phase('connecting');
    this.dial();
  }

  stop(): void {
    this.stopped = true;
    this.drop();
    this.handlers.phase('stopped');
  }

  /** Dials at once instead of waiting: the browser says the network is back. */
  hurry(): void {
    if (this.stopped || this.wire) return;
    this.attempt = 0;
    this.dial();
  }

  /** Says something to the server; nothing while the line is not live. */
  say(word: unknown): void {
    if (this.heard) this.wire?.send(JSON.stringify(word));
  }

  /** What came does not fit: begins again with a new snapshot. */
  resync(): void {
    if (!this.stopped) this.lost();
  }

  private dial(): void {
    this.cancelTimer();
    this.heard = false;
    const wire = this.world.open();
    this.wire = wire;
    this.arm(DIAL_MS);
    wire.onopen = () => this.arm(SILENCE_MS);
    wire.onmessage = ({ data }) => this.receive(data);
    wire.onclose = ({ code }) => {
      if (!this.heard || code === OTHER_PERSON || code === SIGNED_OUT) this.handlers.refused();
      this.lost();
    };
  }

  private receive(data: unknown): void {
    this.arm(SILENCE_MS);
    const event = readEvent(data);
    if (!event || !this.handlers.event(event)) return this.lost();
    if (event.kind === 'snapshot' && !this.heard) {
      this.heard = true;
      this.attempt = 0;
      this.handlers.phase('live');
    }
  }

  private arm(milliseconds: number): void {
    this.cancelTimer();
    this.cancelTimer = this.world.after(milliseconds, () => this.lost());
  }

  private lost(): void {
    this.drop();
    if (this.stopped) return;
    this.handlers.phase('reconnecting');
    const wait = delay(this.attempt, this.world.random());
    this.attempt += 1;
    this.cancelTimer = this.world.after(wait, () => this.dial());
  }

  private drop(): void {
    this.cancelTimer();
    this.cancelTimer = () => {};
    const wire = this.wire;
    this.wire = undefined;
    if (!wire) return;
    wire.onopen = wire.onmessage = wire.onclose = null;
    wire.close();
  }
}
