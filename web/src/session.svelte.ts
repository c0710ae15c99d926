// Who is signed in. The token itself is never kept here: the server answers it with a cookie
// that scripts cannot read.

import { api, ApiError, toApiError, whenSignedOut } from './api/client';
import type { Me } from './api/types';
import { live } from './live/live.svelte';

type SessionState = 'asking' | 'unreachable' | 'signed_out' | 'signed_in';

const RETRY_MS = 2000;

class Session {
  state = $state<SessionState>('asking');
  me = $state.raw<Me | undefined>(undefined);
  /** Why the last sign-in by link did not work. */
  error = $state.raw<ApiError | undefined>(undefined);
  /** Whether an earlier sign-in ended without being asked to. */
  ended = $state(false);

  async start(): Promise<void> {
    whenSignedOut(() => this.leave(this.state === 'signed_in'));
    // The link may also be pasted into a tab that shows the page already.
    addEventListener('hashchange', () => void this.signInByLink());
    if (!(await this.signInByLink())) await this.ask();
  }

  /** False when the address holds no token. */
  private async signInByLink(): Promise<boolean> {
    const token = takeToken();
    if (!token) return false;
    const error = await this.signIn(token);
    if (!error) return true;
    this.leave(false);
    this.error = error;
    return true;
  }

  async signIn(token: string): Promise<ApiError | undefined> {
    try {
      this.enter(await api.signIn(token));
      return undefined;
    } catch (error) {
      return toApiError(error);
    }
  }

  async signOut(): Promise<void> {
    // Without an answer the page still forgets; the cookie then lives until it expires.
    await api.signOut().catch(() => undefined);
    this.leave(false);
  }

  private async ask(): Promise<void> {
    try {
      this.enter(await api.me());
    } catch (error) {
      if (toApiError(error).status === 401) return;
      if (this.state === 'asking') this.state = 'unreachable';
      setTimeout(() => void this.ask(), RETRY_MS);
    }
  }

  private enter(me: Me): void {
    this.me = me;
    this.ended = false;
    this.error = undefined;
    this.state = 'signed_in';
    // A refused dial looks the same for a dead server and a dead sign-in; only asking tells.
    live.start(() => void api.me().catch(() => undefined));
  }

  private leave(ended: boolean): void {
    live.stop();
    this.me = undefined;
    this.ended = ended;
    this.state = 'signed_out';
  }
}

/** The token of a `#token=…` address, which is removed from the address bar and the history. */
function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
  if (token) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

export const session = new Session();
