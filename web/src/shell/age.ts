import { relative } from '../format';

/** How old the newest word of the server is. */
export function ageOf(heardAt: number | undefined, now: number): string {
  return relative(heardAt === undefined ? undefined : new Date(heardAt).toISOString(), now);
}
