// The address bar as state: one small table of routes over the history API.

import { tick } from 'svelte';

import { match, type Route } from './routes';

class Router {
  route = $state.raw<Route>(match(location.pathname));
  query = $state.raw(new URLSearchParams(location.search));

  start(): void {
    addEventListener('popstate', () => this.read());
    document.addEventListener('click', (event) => this.follow(event));
  }

  go(path: string, how: 'push' | 'replace' = 'push'): void {
    if (how === 'replace') history.replaceState(null, '', path);
    else history.pushState(null, '', path);
    this.read();
    if (how === 'push') {
      scrollTo(0, 0);
      // Screen readers hear the new page, and Tab starts at its beginning.
      document.getElementById('content')?.focus({ preventScroll: true });
      // A form's first field says itself that it wants the focus, once it is there.
      void tick().then(() => document.querySelector<HTMLElement>('#content [autofocus]')?.focus());
    }
  }

  /** Changes parameters of this address without a step in the history. */
  refine(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(this.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    const text = query.toString();
    this.go(location.pathname + (text ? `?${text}` : ''), 'replace');
  }

  private read(): void {
    this.route = match(location.pathname);
    this.query = new URLSearchParams(location.search);
  }

  private follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute('download')) return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

export const router = new Router();
