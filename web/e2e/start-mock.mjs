// The invented server as a child of the one who asks.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export async function startMock(...options) {
  const script = fileURLToPath(new URL('../mock/server.mjs', import.meta.url));
  const mock = spawn(process.execPath, [script, '--port', '0', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => mock.kill());
  const line = await new Promise((resolve, reject) => {
    mock.stdout.once('data', (data) => resolve(String(data)));
    mock.once('exit', () => reject(new Error('the mock did not start')));
  });
  const url = line.trim().split(' ').at(-1);
  const steer = (path) => fetch(`${url}/mock/${path}`, { method: 'POST' });
  const post = (path, body, method = 'POST') =>
    fetch(`${url}/api/v1${path}`, { method, headers: { authorization: 'Bearer hf_api_mock', 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return { url, steer, post, stop: () => mock.kill() };
}
