// The agent-hosted socket: {type, payload} either way, as text.

export function encode(words) {
  return { data: JSON.stringify(words), binary: false };
}

export function decode(data) {
  return JSON.parse(data.toString());
}
