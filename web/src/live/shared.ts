// A tab's end of the shared line. To the page it is a wire like any other; where the browser has no
// shared workers each tab opens its own.

import type { Wire } from './socket';

export type FromTab = { kind: 'join'; address: string; who: string } | { kind: 'say'; text: string } | { kind: 'leave' } | { kind: 'here' };
export type ToTab = { kind: 'opened' } | { kind: 'message'; text: string } | { kind: 'closed'; code: number };

const HERE_MS = 20_000;

/** The line, shared where that is possible. */
export function openLine(address: string, who: string): Wire {
  try {
    return new SharedLine(address, who);
  } catch {
    return new WebSocket(address) as unknown as Wire;
  }
}

class SharedLine implements Wire {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  private readonly port: MessagePort;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(address: string, who: string) {
    const worker = new SharedWorker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'holdfast-live' });
    // A worker that cannot be loaded must not look like a server that is away.
    worker.onerror = () => this.fallBack(address);
    this.port = worker.port;
    this.port.onmessage = ({ data }: MessageEvent<ToTab>) => this.take(data);
    this.timer = setInterval(() => this.say({ kind: 'here' }), HERE_MS);
    addEventListener('pagehide', this.leave);
    this.say({ kind: 'join', address, who });
  }

  send(text: string): void {
    if (this.own) this.own.send(text);
    else this.say({ kind: 'say', text });
  }

  close(): void {
    this.own?.close();
    this.leave();
  }

  private own: Wire | undefined;

  private fallBack(address: string): void {
    this.leave();
    const own = new WebSocket(address) as unknown as Wire;
    own.onopen = () => this.onopen?.();
    own.onmessage = (message) => this.onmessage?.(message);
    own.onclose = (event) => this.onclose?.(event);
    this.own = own;
  }

  private readonly leave = (): void => {
    clearInterval(this.timer);
    removeEventListener('pagehide', this.leave);
    this.say({ kind: 'leave' });
    this.port.close();
  };

  private take(word: ToTab): void {
    if (word.kind === 'opened') this.onopen?.();
    else if (word.kind === 'message') this.onmessage?.({ data: word.text });
    else this.onclose?.({ code: word.code });
  }

  private say(word: FromTab): void {
    this.port.postMessage(word);
  }
}
