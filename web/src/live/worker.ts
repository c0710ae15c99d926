// The shared worker: the hub, with ports for tabs and a WebSocket for the line.

import { Hub, type Tab } from './hub';
import type { FromTab, ToTab } from './shared';
import type { Wire } from './socket';

// A tab that crashed says nothing. Timers of a hidden tab run once a minute at worst.
const SILENCE_MS = 200_000;
const LOOK_MS = 30_000;

let address = '';
const hub = new Hub(() => new WebSocket(address) as unknown as Wire, Date.now);
const heard = new Map<PortTab, number>();

class PortTab implements Tab {
  constructor(private readonly port: MessagePort) {
    port.onmessage = ({ data }: MessageEvent<FromTab>) => this.take(data);
  }

  opened(): void {
    this.tell({ kind: 'opened' });
  }

  message(text: string): void {
    this.tell({ kind: 'message', text });
  }

  closed(code: number): void {
    this.tell({ kind: 'closed', code });
  }

  private take(said: FromTab): void {
    heard.set(this, Date.now());
    if (said.kind === 'join') {
      address = said.address;
      hub.join(this, said.who);
    } else if (said.kind === 'say') {
      hub.say(this, said.text);
    } else if (said.kind === 'leave') {
      heard.delete(this);
      hub.leave(this);
    }
  }

  private tell(word: ToTab): void {
    this.port.postMessage(word);
  }
}

setInterval(() => {
  for (const [tab, at] of heard) {
    if (Date.now() - at < SILENCE_MS) continue;
    heard.delete(tab);
    hub.leave(tab);
  }
}, LOOK_MS);

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = ({ ports }) => {
  const port = ports[0];
  if (port) new PortTab(port);
};
