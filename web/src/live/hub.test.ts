import { expect, test } from 'vitest';

import { aHost, aJob } from '../test/samples';
import { Hub, OTHER_PERSON, type Tab } from './hub';
import type { Wire } from './socket';

class FakeTab implements Tab {
  said: string[] = [];
  opened = () => void this.said.push('opened');
  message = (text: string) => void this.said.push(`${(JSON.parse(text) as { kind: string }).kind}`);
  closed = (code: number) => void this.said.push(`closed ${code}`);
}

function world() {
  const lines: (Wire & { ended: boolean; said: string[] })[] = [];
  const hub = new Hub(() => {
    const line = { onopen: null, onmessage: null, onclose: null, ended: false, said: [] as string[], send(text: string) { this.said.push(text); }, close() { this.ended = true; } };
    lines.push(line);
    return line;
  }, () => 0);
  const tell = (event: unknown, index = 0) => lines[index]?.onmessage?.({ data: JSON.stringify(event) });
  return { hub, lines, tell };
}

const SNAPSHOT = { kind: 'snapshot', rev: 7, hosts: [aHost('web-1')], jobs: [aJob('j1')], alerts: [] };

test('two tabs share one line, and the later one begins with a snapshot of now', () => {
  const { hub, lines, tell } = world();
  const [first, second] = [new FakeTab(), new FakeTab()];
  hub.join(first, 'mira');
  lines[0]?.onopen?.();
  tell(SNAPSHOT);
  tell({ kind: 'host', rev: 8, host: aHost('web-2') });
  let told = '';
  second.message = (text) => void (told ||= text);
  hub.join(second, 'mira');
  expect(lines.length).toBe(1);
  expect(first.said).toEqual(['opened', 'snapshot', 'host']);
  const snapshot = JSON.parse(told) as { rev: number; hosts: { name: string }[] };
  expect([snapshot.rev, snapshot.hosts.map((host) => host.name)]).toEqual([8, ['web-1', 'web-2']]);
});

test('a tab that comes later to a large fleet is told it in parts', () => {
  const { hub, tell } = world();
  hub.join(new FakeTab(), 'mira');
  const many = Array.from({ length: 1200 }, (_, i) => aHost(`web-${i}`));
  tell({ ...SNAPSHOT, hosts: many });
  const late = new FakeTab();
  const told: { kind: string; parts?: number; hosts: unknown[] }[] = [];
  late.message = (text) => void told.push(JSON.parse(text));
  hub.join(late, 'mira');
  expect(told.map(({ kind, hosts }) => [kind, hosts.length])).toEqual([['snapshot.part', 500], ['snapshot.part', 500], ['snapshot', 200]]);
  expect(told.at(-1)?.parts).toBe(2);
});

test('when the line is lost every tab is told, and the next to come opens a new one', () => {
  const { hub, lines, tell } = world();
  const tabs = [new FakeTab(), new FakeTab()];
  for (const tab of tabs) hub.join(tab, 'mira');
  tell(SNAPSHOT);
  lines[0]?.onclose?.({ code: 1006 });
  expect(tabs.map((tab) => tab.said.at(-1))).toEqual(['closed 1006', 'closed 1006']);
  hub.join(tabs[0] as FakeTab, 'mira');
  expect(lines.length).toBe(2);
});

test('a tab that comes before the first snapshot gets that one', () => {
  const { hub, tell } = world();
  const [first, second] = [new FakeTab(), new FakeTab()];
  hub.join(first, 'mira');
  hub.join(second, 'mira');
  tell(SNAPSHOT);
  expect(second.said).toEqual(['snapshot']);
});

test('nobody reads over the line of somebody else', () => {
  const { hub, lines, tell } = world();
  const [admin, viewer] = [new FakeTab(), new FakeTab()];
  hub.join(admin, 'admin');
  tell(SNAPSHOT);
  hub.join(viewer, 'viewer');
  expect(admin.said.at(-1)).toBe(`closed ${OTHER_PERSON}`);
  expect(lines[0]?.ended).toBe(true);
  expect(viewer.said).toEqual([]);
  expect(lines.length).toBe(2);
});

test('the line ends with the last tab', () => {
  const { hub, lines } = world();
  const [first, second] = [new FakeTab(), new FakeTab()];
  hub.join(first, 'mira');
  hub.join(second, 'mira');
  hub.leave(first);
  expect(lines[0]?.ended).toBe(false);
  hub.leave(second);
  expect(lines[0]?.ended).toBe(true);
});

test('after something that does not fit nobody is told a guess', () => {
  const { hub, tell } = world();
  const tab = new FakeTab();
  hub.join(tab, 'mira');
  tell(SNAPSHOT);
  tell({ kind: 'job.progress', rev: 8, job_id: 'never told', progress: {} });
  expect(tab.said).toEqual(['snapshot', 'closed 4000']);
});

test('the lines of a log are told to the tab that follows it only, and it is left with the tab', () => {
  const { hub, lines, tell } = world();
  const [reader, other] = [new FakeTab(), new FakeTab()];
  hub.join(reader, 'mira');
  hub.join(other, 'mira');
  tell(SNAPSHOT);
  hub.say(reader, JSON.stringify({ kind: 'log.follow', follow: 'a.1', job_id: 'j1', after: 0 }));
  tell({ kind: 'log', follow: 'a.1', after: 0, last: 1, lines: [], gaps: [] });
  tell({ kind: 'log', follow: 'nobody', after: 0, last: 1, lines: [], gaps: [] });
  expect([reader.said, other.said]).toEqual([['snapshot', 'log'], ['snapshot']]);
  hub.leave(reader);
  const kinds = lines[0]?.said.map((text) => (JSON.parse(text) as { kind: string }).kind);
  expect(kinds).toEqual(['log.follow', 'log.leave']);
  tell({ kind: 'log', follow: 'a.1', after: 1, last: 2, lines: [], gaps: [] });
  expect(reader.said).toEqual(['snapshot', 'log']);
});
