// NerdBackup: JSON. An agent's frame is {type, data} and ends in a line break; a server's is
// {type: "command", action, job_id?, data?}.

export function encode(words) {
  return { data: words.action === undefined ? `${JSON.stringify(words)}\n` : JSON.stringify(words), binary: false };
}

export function decode(data) {
  return { ...JSON.parse(data.toString()), ends_in_newline: data[data.length - 1] === 0x0a };
}
