// Which fields each kind of channel has, and what is sent of them. Pure.

import type { AddChannel } from '../../api/types';

export interface Field {
  name: string;
  secret?: boolean;
  optional?: boolean;
  lines?: boolean;
  number?: boolean;
  placeholder?: string;
}

const url = (placeholder: string): Field => ({ name: 'url', placeholder });
const TOKEN: Field = { name: 'token', secret: true };

export const KINDS: Record<string, Field[]> = {
  mail: [
    { name: 'host', placeholder: 'mail.example.net' },
    { name: 'port', number: true, optional: true, placeholder: '465' },
    { name: 'from', placeholder: 'holdfast@example.net' },
    { name: 'to', lines: true, placeholder: 'ops@example.net' },
    { name: 'username', optional: true },
    { name: 'password', secret: true, optional: true },
  ],
  ntfy: [url('https://ntfy.sh'), { name: 'topic' }, { ...TOKEN, optional: true }],
  gotify: [url('https://gotify.example.net'), TOKEN],
  slack: [{ ...url('https://hooks.slack.com/services/…'), secret: true }],
  discord: [{ ...url('https://discord.com/api/webhooks/…'), secret: true }],
  telegram: [TOKEN, { name: 'chat_id' }],
  webhook: [url('https://example.net/hook'), { name: 'secret', secret: true, optional: true }],
  ping: [{ ...url('https://hc-ping.com/…'), secret: true }],
};

/** The settings as the server takes them: what is empty is left out. */
export function settingsOf(kind: string, values: Readonly<Record<string, string>>): AddChannel['settings'] {
  const settings: Record<string, unknown> = { kind };
  for (const field of KINDS[kind] ?? []) {
    const text = (values[field.name] ?? '').trim();
    if (!text) continue;
    if (field.lines) settings[field.name] = text.split('\n').map((line) => line.trim()).filter(Boolean);
    else settings[field.name] = field.number ? Number(text) : text;
  }
  return settings as AddChannel['settings'];
}
