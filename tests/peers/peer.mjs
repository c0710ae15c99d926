// A peer of another system, for tests: an agent that dials Holdfast, or a server or agent that
// Holdfast dials. It is written from the description of each dialect and knows nothing of
// Holdfast's own code.
//
//   node peer.mjs nerdbackup|backupy|envelope|local
//
// One JSON object a line: orders come on standard input, what happens goes to standard output.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { WebSocket, WebSocketServer } = require('ws');

const dialect = process.argv[2];
const codec = await import(`./${dialect}.mjs`);

let socket = null;
let server = null;
// Whether a server's sockets answer pings: by that an agent knows what was read.
let answersPings = true;
const routes = new Map();

const tell = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);

function hear(data, isBinary) {
  try {
    tell('frame', { frame: codec.decode(data, isBinary) });
  } catch (error) {
    tell('unreadable', { error: String(error), text: data.toString().slice(0, 200) });
  }
}

function hold(candidate) {
  socket = candidate;
  candidate.on('message', hear);
  candidate.on('close', (code, reason) => tell('close', { code, reason: reason.toString() }));
  candidate.on('error', (error) => tell('error', { error: String(error) }));
  candidate.on('pong', (nonce) => tell('pong', { nonce: nonce.toString() }));
}

function authorised(request) {
  return server.token === undefined || request.headers.authorization === `Bearer ${server.token}`;
}

function answer(request, response) {
  let body = '';
  request.on('data', (part) => (body += part));
  request.on('end', () => {
    const [path] = request.url.split('?');
    const route = routes.get(`${request.method} ${path}`);
    const known = authorised(request);
    tell('request', { method: request.method, path, body, known, etag: request.headers['if-none-match'] });
    const status = known ? (route?.status ?? 404) : 401;
    response.writeHead(status, { 'content-type': 'application/json', ...(route?.headers ?? {}) });
    response.end(known && status !== 304 ? JSON.stringify(route?.body ?? {}) : '');
  });
}

const orders = {
  connect({ url, token, headers = {} }) {
    const all = token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers };
    const candidate = new WebSocket(url, { headers: all, perMessageDeflate: false, maxPayload: 64 << 20 });
    candidate.on('open', () => tell('open'));
    candidate.on('unexpected-response', (request, response) => {
      tell('refused', { status: response.statusCode });
      request.destroy();
    });
    hold(candidate);
  },

  listen({ path, token, port = 0 }) {
    const http = createServer(answer);
    server = { http, token };
    const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, autoPong: false });
    http.on('upgrade', (request, stream, head) => {
      const [asked] = request.url.split('?');
      if (asked !== path || !authorised(request)) {
        tell('turned-away', { path: asked, authorization: request.headers.authorization ?? null });
        stream.end(`HTTP/1.1 ${asked === path ? 401 : 404} No\r\ncontent-length: 0\r\n\r\n`);
        return;
      }
      if (server.deaf) {
        stream.end('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(request, stream, head, (accepted) => {
        accepted.on('ping', (nonce) => answersPings && accepted.pong(nonce));
        hold(accepted);
        tell('open', { authorization: request.headers.authorization ?? null });
      });
    });
    http.listen(port, '127.0.0.1', () => tell('listening', { port: http.address().port }));
  },

  // Refuses sockets, or takes them again; HTTP goes on.
  sockets({ taken }) {
    server.deaf = !taken;
    tell('sockets', { taken });
  },

  // What a connection must show from now on.
  token({ token }) {
    server.token = token;
    tell('token');
  },

  pings({ answered }) {
    answersPings = answered;
    tell('pings', { answered });
  },

  route({ method, path, status = 200, body, headers }) {
    routes.set(`${method} ${path}`, { status, body, headers });
    tell('routed', { path });
  },

  say(order) {
    const { data, binary } = codec.encode(order.words);
    socket.send(data, { binary });
  },

  text({ text }) {
    socket.send(text, { binary: false });
  },

  binary({ base64 }) {
    socket.send(Buffer.from(base64, 'base64'), { binary: true });
  },

  // One message of so many bytes.
  flood({ bytes, binary = false }) {
    socket.send(Buffer.alloc(bytes, 0x20), { binary });
  },

  // The beginning of a message, so many empty pieces of it, and a ping: its answer comes when all of
  // them have been read.
  pieces({ count }) {
    const mask = socket._isServer ? [0x00] : [0x80, 0, 0, 0, 0];
    const piece = Buffer.from([0x00, ...mask]);
    const pieces = Buffer.concat([Buffer.from([0x01, ...mask]), ...Array(count).fill(piece)]);
    socket._socket.write(pieces, () => socket.ping('pieces'));
  },

  // The beginning of a frame that never ends, and the end of the connection.
  half() {
    const stream = socket._socket;
    stream.write(Buffer.from([0x81, 0xfe, 0x10, 0x00, 1, 2, 3, 4, 5, 6]), () => stream.destroy());
  },

  drop() {
    socket.terminate();
  },

  close({ code = 1000, reason = '' }) {
    socket.close(code, reason);
  },

  async http({ method, url, token, body, headers = {} }) {
    const all = { ...headers };
    if (token !== undefined) all.authorization = `Bearer ${token}`;
    if (body !== undefined) all['content-type'] = 'application/json';
    const response = await fetch(url, { method, headers: all, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await response.text();
    let json = null;
    try {
      json = JSON.parse(text);
    } catch {
      // Some answers have no body.
    }
    tell('answer', { status: response.status, body: json, etag: response.headers.get('etag') });
  },

  leave() {
    process.exit(0);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    await orders[order.do](order);
  } catch (error) {
    tell('failed', { order: order.do, error: String(error) });
  }
}
process.exit(0);
