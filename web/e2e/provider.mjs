// An identity provider (OpenID Connect) for one person, as small as one can be and still strict: the
// secret, the code once, the verifier, the way back.

import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer } from 'node:http';

const CLIENT = { id: 'holdfast', secret: 'a secret of the provider' };
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** Starts one that lets everybody in at once as `person`; what it takes for the client's secret stands in `secret`. */
export async function startProvider(person) {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const codes = new Map();
  let issuer = '';

  function idToken(nonce) {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: CLIENT.id, sub: person.sub, nonce, iat: now, exp: now + 300, ...person };
    const signed = `${encode({ alg: 'ES256', kid: 'one' })}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: keys.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  }

  function authorize(asked) {
    const code = randomUUID();
    codes.set(code, { challenge: asked.get('code_challenge'), back: asked.get('redirect_uri'), nonce: asked.get('nonce') });
    const back = new URL(asked.get('redirect_uri'));
    back.search = new URLSearchParams({ code, state: asked.get('state'), iss: issuer }).toString();
    return [302, undefined, { location: back.href }];
  }

  function token(form, authorization) {
    const shown = Buffer.from((authorization ?? '').replace('Basic ', ''), 'base64').toString().split(':');
    const [id, secret] = shown.map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
    const known = codes.get(form.get('code'));
    codes.delete(form.get('code'));
    const hash = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    const good = id === CLIENT.id && secret === CLIENT.secret && known?.challenge === hash && known.back === form.get('redirect_uri');
    return good ? [200, { id_token: idToken(known.nonce), token_type: 'Bearer' }] : [400, { error: 'invalid_grant' }];
  }

  async function answer(request) {
    const url = new URL(request.url, issuer);
    let body = '';
    for await (const part of request) body += part;
    switch (url.pathname) {
      case '/.well-known/openid-configuration':
        return [200, { issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/keys` }];
      case '/keys':
        return [200, { keys: [{ ...keys.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] }];
      case '/authorize':
        return authorize(url.searchParams);
      case '/token':
        return token(new URLSearchParams(body), request.headers.authorization);
      default:
        return [404, {}];
    }
  }

  const server = createServer((request, response) => {
    void answer(request).then(([status, body, headers]) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(body && JSON.stringify(body));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  // It must not keep a story from ending that has failed.
  server.unref();
  issuer = `http://127.0.0.1:${server.address().port}`;
  return { issuer, ...CLIENT, stop: () => server.close() };
}
