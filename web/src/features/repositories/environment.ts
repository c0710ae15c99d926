import { listOf } from '../groups/paths';

/** `NAME=value` lines as an object; `mistake` is the first line that is none, without its value. */
export function environmentOf(text: string): { values: Record<string, string>; mistake?: string } {
  const values: Record<string, string> = {};
  for (const line of listOf(text)) {
    const at = line.indexOf('=');
    const name = at < 0 ? line : line.slice(0, at).trim();
    if (at < 0 || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return { values, mistake: name };
    values[name] = line.slice(at + 1).trim();
  }
  return { values };
}

/** 160 random bits, in letters that are not mistaken for one another. */
export function strongPassword(): string {
  const letters = 'abcdefghjkmnpqrstuvwxyz234567890';
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const text = [...bytes].map((byte) => letters[byte % 32]).join('');
  return text.match(/.{8}/g)?.join('-') ?? text;
}
