// What the command palette offers for some words, the best first. Pure.

export interface Command {
  id: string;
  kind: 'screen' | 'host' | 'job' | 'repository' | 'action';
  text: string;
  /** More words by which it is found. */
  also?: string;
  run: () => void;
}

/** At most this many are shown. */
export const SHOWN = 12;

/** The commands in which every word is found: those that begin with the words come first. */
export function find(commands: Iterable<Command>, typed: string): Command[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found: { command: Command; score: number }[] = [];
  for (const command of commands) {
    const score = rate(command, words);
    if (score > 0) found.push({ command, score });
  }
  // A stable sort keeps the order in which equals were offered.
  return found.sort((a, b) => b.score - a.score).slice(0, SHOWN).map((it) => it.command);
}

function rate({ text, also = '' }: Command, words: readonly string[]): number {
  const [name, more] = [text.toLowerCase(), also.toLowerCase()];
  let score = 1;
  for (const word of words) {
    if (name.startsWith(word)) score += 4;
    else if (new RegExp(`[\\s/._-]${escape(word)}`).test(name)) score += 3;
    else if (name.includes(word)) score += 2;
    else if (more.includes(word)) score += 1;
    else return 0;
  }
  return score;
}

const escape = (word: string): string => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
