// Holdfast's own envelope, as PROTOCOL.md describes it: one JSON object a frame. Words go out as they are, so that a
// test can say what no server of ours would.

export function encode(words) {
  return { data: JSON.stringify({ ts: new Date().toISOString(), ...words }), binary: false };
}

export function decode(data, isBinary) {
  if (isBinary) throw new Error('text frames only');
  return JSON.parse(data.toString());
}
