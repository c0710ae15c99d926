/** The lines of a text field that say something. */
export function listOf(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter(Boolean);
}
