// What can be asked of a host. Agents of other systems have no words for some things: those are greyed out, and say why,
// before the server has to refuse them.

import type { Host } from './api/types';
import { abilities } from './texts/abilities';

export type Ability = keyof typeof abilities.words;

/** Why it cannot be asked of the host; nothing when it can, or when the host is not known. */
export function cannot(host: Host | undefined, ability: Ability): string | undefined {
  // Holdfast's own agents can everything, so of them it is not told.
  if (!host?.capabilities || host.capabilities.includes(ability)) return undefined;
  return abilities.cannot(abilities.words[ability], host.dialect ?? '');
}

/** All that cannot be asked of it. */
export function lacks(host: Host): Ability[] {
  const { capabilities } = host;
  if (!host.dialect || !capabilities) return [];
  return (Object.keys(abilities.words) as Ability[]).filter((it) => !capabilities.includes(it));
}
