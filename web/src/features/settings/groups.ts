/** Host groups as people type them: names with commas between. */
export function groupsOf(text: string): string[] {
  const names = text.split(',').map((name) => name.trim()).filter(Boolean);
  return [...new Set(names)];
}
