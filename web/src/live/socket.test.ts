import { beforeEach, describe, expect, it } from 'vitest';

import type { LiveEvent } from '../api/types';
import { delay, DELAY_MAX_MS, DELAY_MIN_MS, LiveSocket, SILENCE_MS, type Phase, type Wire } from './socket';

const SNAPSHOT = '{"kind":"snapshot","rev":1,"hosts":[],"jobs":[]}';
const PING = '{"kind":"ping"}';

class FakeWire implements Wire {
  onopen: Wire['onopen'] = null;
  onmessage: Wire['onmessage'] = null;
  onclose: Wire['onclose'] = null;
  closed = false;
  said: string[] = [];
  send(text: string): void {
    this.said.push(text);
  }
  close(): void {
    this.closed = true;
  }
}

/** A world in which time passes only when told to. */
class FakeWorld {
  wires: FakeWire[] = [];
  now = 0;
  private timers: { at: number; run: () => void }[] = [];

  open(): Wire {
    const wire = new FakeWire();
    this.wires.push(wire);
    return wire;
  }

  random(): number {
    return 0.5;
  }

  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.now + milliseconds, run };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((it) => it !== timer));
  }

  pass(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      const next = this.timers.filter((it) => it.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.now = next.at;
      this.timers = this.timers.filter((it) => it !== next);
      next.run();
    }
    this.now = end;
  }

  get wire(): FakeWire {
    const last = this.wires.at(-1);
    if (!last) throw new Error('nothing was dialled');
    return last;
  }
}

let world: FakeWorld;
let phases: Phase[];
let events: LiveEvent[];
let refusals: number;
let fits: boolean;
let socket: LiveSocket;

beforeEach(() => {
  world = new FakeWorld();
  phases = [];
  events = [];
  refusals = 0;
  fits = true;
  socket = new LiveSocket(world, {
    event: (event) => {
      events.push(event);
      return fits;
    },
    phase: (phase) => phases.push(phase),
    refused: () => (refusals += 1),
  });
});

function goLive(): void {
  socket.start();
  world.wire.onopen?.();
  world.wire.onmessage?.({ data: SNAPSHOT });
}

describe('the live socket', () => {
  it('is live with the first snapshot, not before', () => {
    socket.start();
    world.wire.onopen?.();
    expect(phases).toEqual(['connecting']);
    world.wire.onmessage?.({ data: SNAPSHOT });
    expect(phases).toEqual(['connecting', 'live']);
  });

  it('comes back by itself after the server closed it', () => {
    goLive();
    world.wire.onclose?.({ code: 4408 });
    expect(phases.at(-1)).toBe('reconnecting');
    world.pass(DELAY_MAX_MS);
    expect(world.wires).toHaveLength(2);
    world.wire.onopen?.();
    world.wire.onmessage?.({ data: SNAPSHOT });
    expect(phases.at(-1)).toBe('live');
    expect(refusals).toBe(0);
  });

  it('asks whether the sign-in still holds when a dial ended without a word', () => {
    socket.start();
    world.wire.onclose?.({ code: 1006 });
    expect(refusals).toBe(1);
  });

  it('takes silence for a dead line, and pings for a living one', () => {
    goLive();
    for (let i = 0; i < 10; i += 1) {
      world.pass(20_000);
      world.wire.onmessage?.({ data: PING });
    }
    expect(phases.at(-1)).toBe('live');
    const first = world.wire;
    world.pass(SILENCE_MS);
    expect(phases.at(-1)).toBe('reconnecting');
    expect(first.closed).toBe(true);
  });

  it('gives up a dial that never opens', () => {
    socket.start();
    world.pass(60_000);
    expect(world.wires.length).toBeGreaterThan(1);
  });

  it('begins again when an event does not fit or cannot be read', () => {
    goLive();
    fits = false;
    world.wire.onmessage?.({ data: '{"kind":"host","rev":9}' });
    expect(phases.at(-1)).toBe('reconnecting');
    fits = true;
    world.pass(DELAY_MAX_MS);
    world.wire.onmessage?.({ data: SNAPSHOT });
    world.wire.onmessage?.({ data: 'not json' });
    expect(phases.at(-1)).toBe('reconnecting');
  });

  it('hears nothing more from a line it has left', () => {
    goLive();
    const old = world.wire;
    socket.resync();
    const heard = events.length;
    old.onmessage?.({ data: SNAPSHOT });
    expect(events).toHaveLength(heard);
  });

  it('dials at once when told that the network is back, and only when it has no line', () => {
    goLive();
    socket.hurry();
    expect(world.wires).toHaveLength(1);
    world.wire.onclose?.({ code: 1006 });
    socket.hurry();
    expect(world.wires).toHaveLength(2);
  });

  it('stays down when stopped', () => {
    goLive();
    socket.stop();
    world.pass(120_000);
    socket.hurry();
    expect(world.wires).toHaveLength(1);
    expect(phases.at(-1)).toBe('stopped');
  });
});

describe('the pause before a dial', () => {
  it('is jittered over a range that grows to its limit', () => {
    expect(delay(0, 0)).toBe(DELAY_MIN_MS);
    expect(delay(0, 1)).toBe(1000);
    expect(delay(2, 1)).toBe(4000);
    expect(delay(50, 1)).toBe(DELAY_MAX_MS);
    expect(delay(50, 0)).toBe(DELAY_MIN_MS);
  });
});
