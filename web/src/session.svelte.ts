// Who is signed in. The token itself is never kept here: the server answers it with a cookie
// that scripts cannot read.

import { api, ApiError, toApiError, whenSignedOut, type Credentials, type OidcArrival } from './api/client';
import type { Me, Role } from './api/types';
import { live } from './live/live.svelte';
import { router } from './router.svelte';
import { texts } from './texts';

type SessionState = 'asking' | 'unreachable' | 'setup' | 'signed_out' | 'signed_in';

const RETRY_MS = 2000;
/** Where the identity provider sends browsers back to. */
const ARRIVAL = '/sign-in/oidc';

class Session {
  state = $state<SessionState>('asking');
  me = $state.raw<Me | undefined>(undefined);
  /** Why the last sign-in by link did not work. */
  error = $state.raw<ApiError | undefined>(undefined);
  /** Whether an earlier sign-in ended without being asked to. */
  ended = $state(false);

  async start(): Promise<void> {
    whenSignedOut(() => {
      // At the start nobody has left: whether there is anybody yet is asked first.
      if (this.state !== 'asking' && this.state !== 'setup') this.leave(this.state === 'signed_in');
    });
    // The link may also be pasted into a tab that shows the page already.
    addEventListener('hashchange', () => void this.signInByLink());
    if (!(await this.comeBack()) && !(await this.signInByLink())) await this.ask();
  }

  /** False when the address holds no token. */
  private async signInByLink(): Promise<boolean> {
    const token = takeToken();
    if (!token) return false;
    const error = await this.signIn({ token });
    if (!error) return true;
    this.leave(false);
    this.error = error;
    return true;
  }

  /** False when the address is not the one that the identity provider sends browsers back to. */
  private async comeBack(): Promise<boolean> {
    const arrival = takeArrival();
    if (!arrival) return false;
    const error = arrival instanceof ApiError ? arrival : await this.enterBy(async () => void (await api.finishOidc(arrival)));
    if (!error) return true;
    this.leave(false);
    this.error = error;
    return true;
  }

  /** Goes to the identity provider. */
  async depart(): Promise<ApiError | undefined> {
    try {
      location.assign((await api.beginOidc()).url);
      return undefined;
    } catch (error) {
      return toApiError(error);
    }
  }

  async signIn(who: Credentials): Promise<ApiError | undefined> {
    return this.enterBy(async () => void (await api.signIn(who)));
  }

  /** Makes the first administrator, who is signed in by that. */
  async setUp(admin: { code: string; name: string; password: string }): Promise<ApiError | undefined> {
    return this.enterBy(async () => void (await api.setUp(admin)));
  }

  private async enterBy(act: () => Promise<void>): Promise<ApiError | undefined> {
    try {
      await act();
      this.enter(await api.me());
      return undefined;
    } catch (error) {
      return toApiError(error);
    }
  }

  /** The server decides what is allowed; these only keep the page from offering what would be refused. */
  get mayOperate(): boolean {
    return this.me?.role === 'operator' || this.mayAdmin;
  }

  get mayAdmin(): boolean {
    return this.me?.role === ('admin' satisfies Role);
  }

  async refresh(): Promise<void> {
    this.me = await api.me();
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
      if (toApiError(error).status === 401) return void (await this.askForSetup());
      if (this.state === 'asking') this.state = 'unreachable';
      setTimeout(() => void this.ask(), RETRY_MS);
    }
  }

  /** On the very first visit there is nobody yet who could sign in. */
  private async askForSetup(): Promise<void> {
    const answer = await api.setup().catch(() => undefined);
    if (this.state === 'asking' || this.state === 'unreachable') this.state = answer?.needed ? 'setup' : 'signed_out';
  }

  private enter(me: Me): void {
    this.me = me;
    this.ended = false;
    this.error = undefined;
    this.state = 'signed_in';
    // A refused dial looks the same for a dead server and a dead sign-in; only asking tells.
    live.start(`${me.kind ?? ''}/${me.name}/${me.role}`, () => void this.askAgain());
  }

  /** In another tab somebody else may have signed in; then nothing of this one's page may stay. */
  private async askAgain(): Promise<void> {
    const me = await api.me().catch(() => undefined);
    if (me && this.me && (me.name !== this.me.name || me.role !== this.me.role)) location.reload();
  }

  private leave(ended: boolean): void {
    live.stop();
    this.me = undefined;
    this.ended = ended;
    this.state = 'signed_out';
  }
}

/** What the identity provider says in the address, which goes from the address bar and the history. */
function takeArrival(): OidcArrival | ApiError | undefined {
  if (location.pathname !== ARRIVAL) return undefined;
  const said = new URLSearchParams(location.search);
  router.go('/', 'replace');
  const [code, state, iss] = ['code', 'state', 'iss'].map((name) => said.get(name) ?? undefined);
  if (code && state) return { code, state, iss };
  // What the address says about why is anybody's text.
  return new ApiError(0, 'oidc_declined', texts.signIn.declined, texts.signIn.declinedAction);
}

/** The token of a `#token=…` address, which is removed from the address bar and the history. */
function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
  if (token) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

export const session = new Session();
