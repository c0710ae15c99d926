// Backupy: one protobuf Envelope per binary frame. The tables are those of the protocol's
// description; the encoder knows varints, lengths and floats, and nothing more is needed.

const STRING = 's', UINT = 'u', BOOL = 'b', BYTES = 'y', STRINGS = 'S', MAP = 'm', PACKED = 'P', FLOAT = 'f';
const one = (message) => ({ message });
const many = (message) => ({ message, many: true });

const ConnectionConfig = {
  host: [1, STRING], port: [2, UINT], database: [3, STRING], username: [4, STRING],
  password_secret_ref: [5, STRING], container_id: [6, STRING], strategy: [7, UINT],
};
const Target = { id: [1, STRING], type: [2, UINT], display_name: [3, STRING], connection: [4, one(ConnectionConfig)] };
const RetryPolicy = { max_attempts: [1, UINT], backoff_seconds: [2, PACKED] };
const BackupJobSpec = {
  id: [1, STRING], target_id: [2, STRING], cron: [3, STRING], retention_days: [4, UINT], compression: [5, STRING],
  encryption_enabled: [6, BOOL], pre_hooks: [7, STRINGS], post_hooks: [8, STRINGS], retry: [9, one(RetryPolicy)],
  timeout_sec: [10, UINT],
};
const AgentConfig = { version: [1, UINT], targets: [2, many(Target)], jobs: [3, many(BackupJobSpec)] };
const S3UploadCreds = { presigned_put_url: [1, STRING], expires_at_ms: [2, UINT], final_s3_key: [3, STRING] };
const AgentMetrics = {
  cpu_percent: [1, FLOAT], mem_used_bytes: [2, UINT], mem_total_bytes: [3, UINT], disk_used_bytes: [4, UINT],
  disk_total_bytes: [5, UINT], queue_depth: [6, UINT],
};

const BODIES = {
  register: [10, {
    agent_version: [1, STRING], hostname: [2, STRING], os: [3, STRING], arch: [4, STRING], docker_version: [5, STRING],
    capabilities: [6, STRINGS], last_known_config_version: [7, UINT],
  }],
  heartbeat: [11, { config_version: [1, UINT], metrics: [2, one(AgentMetrics)], active_job_ids: [3, STRINGS] }],
  discovery: [12, { containers: [1, many({ container_id: [1, STRING], name: [2, STRING], image: [3, STRING] })] }],
  job_update: [13, {
    job_id: [1, STRING], status: [2, UINT], progress_percent: [3, UINT], current_step: [4, STRING],
    error_message: [5, STRING], run_id: [6, STRING],
  }],
  backup_completed: [14, {
    job_id: [1, STRING], run_id: [2, STRING], s3_key: [3, STRING], size_bytes: [4, UINT], sha256: [5, STRING],
    duration_ms: [6, UINT], dek_kms_id: [7, STRING], encrypted_dek: [8, BYTES], compression: [9, STRING],
    db_engine_version: [10, STRING],
  }],
  log: [16, { ts_ms: [1, UINT], level: [2, UINT], job_id: [3, STRING], message: [4, STRING], fields: [5, MAP] }],
  ack: [18, { correlation_id: [1, STRING], accepted: [2, BOOL], reason: [3, STRING] }],
  register_ack: [50, {
    session_id: [1, STRING], config: [2, one(AgentConfig)], heartbeat_interval_sec: [3, UINT], server_time_iso: [4, STRING],
  }],
  config_update: [51, { config: [1, one(AgentConfig)] }],
  run_backup: [52, {
    job_id: [1, STRING], run_id: [2, STRING], manual_trigger: [3, BOOL], upload_creds: [4, one(S3UploadCreds)],
    encrypted_dek: [5, BYTES],
  }],
  cancel_job: [53, { job_id: [1, STRING] }],
  ping: [57, { ts_ms: [1, UINT] }],
};
const HEAD = { seq: [1, UINT], ts_ms: [2, UINT], correlation_id: [3, STRING] };

function varint(number) {
  let rest = BigInt(number);
  const bytes = [];
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if (rest === 0n) return Buffer.from([...bytes, low]);
    bytes.push(low | 0x80);
  }
}

const tagged = (number, wire, ...parts) => Buffer.concat([varint((number << 3) | wire), ...parts]);
const sized = (number, bytes) => tagged(number, 2, varint(bytes.length), bytes);

function field(number, type, value) {
  switch (type) {
    case STRING: return value === '' ? Buffer.alloc(0) : sized(number, Buffer.from(value));
    case UINT: return BigInt(value) === 0n ? Buffer.alloc(0) : tagged(number, 0, varint(value));
    case BOOL: return value ? tagged(number, 0, varint(1)) : Buffer.alloc(0);
    case BYTES: return sized(number, Buffer.from(value, 'base64'));
    case STRINGS: return Buffer.concat(value.map((text) => sized(number, Buffer.from(text))));
    case PACKED: return sized(number, Buffer.concat(value.map(varint)));
    case FLOAT: {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value);
      return tagged(number, 5, bytes);
    }
    case MAP: return Buffer.concat(Object.entries(value).map(([key, text]) =>
      sized(number, message({ key: [1, STRING], value: [2, STRING] }, { key, value: text }))));
    default: return Buffer.concat((type.many ? value : [value]).map((each) => sized(number, message(type.message, each))));
  }
}

function message(table, values) {
  return Buffer.concat(Object.entries(table)
    .filter(([name]) => values[name] !== undefined)
    .map(([name, [number, type]]) => field(number, type, values[name])));
}

export function encode({ body, fields = {}, unknown, ...head }) {
  const parts = [message(HEAD, { ts_ms: Date.now(), ...head })];
  if (body !== undefined) {
    const [number, table] = BODIES[body];
    parts.push(sized(number, message(table, fields)));
  }
  // A body from the future.
  if (unknown !== undefined) parts.push(sized(unknown, Buffer.from('later')));
  return { data: Buffer.concat(parts), binary: true };
}

function* entries(bytes) {
  let at = 0;
  const number = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error('the frame ends in a number');
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(number());
    const wire = tag & 7;
    if (wire === 0) yield [tag >> 3, number()];
    else if (wire === 2) {
      const length = Number(number());
      if (at + length > bytes.length) throw new Error('the frame ends in a field');
      yield [tag >> 3, bytes.subarray(at, at + length)];
      at += length;
    } else if (wire === 5) {
      yield [tag >> 3, bytes.subarray(at, at + 4)];
      at += 4;
    } else throw new Error(`wire type ${wire}`);
  }
}

function read(table, bytes) {
  const values = {};
  const names = new Map(Object.entries(table).map(([name, [number, type]]) => [number, [name, type]]));
  for (const [number, raw] of entries(bytes)) {
    if (!names.has(number)) continue;
    const [name, type] = names.get(number);
    if (type === UINT) values[name] = Number(raw);
    else if (type === BOOL) values[name] = raw === 1n;
    else if (type === STRING) values[name] = raw.toString();
    else if (type === BYTES) values[name] = raw.toString('base64');
    else if (type === FLOAT) values[name] = raw.readFloatLE();
    else if (type === STRINGS) (values[name] ??= []).push(raw.toString());
    else if (type === MAP) {
      const pair = read({ key: [1, STRING], value: [2, STRING] }, raw);
      (values[name] ??= {})[pair.key ?? ''] = pair.value ?? '';
    } else if (type.many) (values[name] ??= []).push(read(type.message, raw));
    else if (type.message) values[name] = read(type.message, raw);
  }
  return values;
}

export function decode(data, isBinary) {
  if (!isBinary) throw new Error('binary frames only');
  const frame = read(HEAD, data);
  for (const [number, raw] of entries(data)) {
    const known = Object.entries(BODIES).find(([, [own]]) => own === number);
    if (known) Object.assign(frame, { body: known[0], fields: read(known[1][1], raw) });
  }
  return frame;
}
