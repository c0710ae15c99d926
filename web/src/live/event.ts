// What comes over the live line, as it is read.

import type { LiveEvent } from '../api/types';

/** An event, if the text is one. */
export function readEvent(data: unknown): LiveEvent | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const value: unknown = JSON.parse(data);
    const isEvent = typeof value === 'object' && value !== null && 'kind' in value;
    return isEvent ? (value as LiveEvent) : undefined;
  } catch {
    return undefined;
  }
}
