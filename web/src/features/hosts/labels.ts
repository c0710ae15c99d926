import { listOf } from '../groups/paths';

/** `NAME=value` lines as labels; `mistake` is the first line that is none. */
export function labelsOf(text: string): { values: Record<string, string>; mistake?: string } {
  const values: Record<string, string> = {};
  for (const line of listOf(text)) {
    const at = line.indexOf('=');
    if (at < 1) return { values, mistake: line };
    values[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return { values };
}
