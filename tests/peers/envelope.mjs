// The plain envelope: {kind, id?, in_reply_to?, ts, payload?} as text, without a line break.

export function encode({ kind, id, in_reply_to, payload }) {
  const envelope = { kind };
  if (id) envelope.id = id;
  if (in_reply_to) envelope.in_reply_to = in_reply_to;
  envelope.ts = new Date().toISOString();
  if (payload !== undefined) envelope.payload = payload;
  return { data: JSON.stringify(envelope), binary: false };
}

export function decode(data, isBinary) {
  if (isBinary) throw new Error('text frames only');
  const envelope = JSON.parse(data.toString());
  if (!envelope.kind) throw new Error('no kind');
  return envelope;
}
