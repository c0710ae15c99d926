// One answer of the REST API as state: waiting, there, failed, or there but old.

import { toApiError, type ApiError } from './api/client';

export class Remote<T> {
  value = $state.raw<T | undefined>(undefined);
  error = $state.raw<ApiError | undefined>(undefined);
  busy = $state(false);
  private turn = 0;

  constructor(private readonly ask: () => Promise<T>) {}

  /** Asks again. What was there stays until the new answer is; an overtaken answer is dropped. */
  readonly load = async (): Promise<void> => {
    const turn = ++this.turn;
    this.busy = true;
    try {
      const value = await this.ask();
      if (turn !== this.turn) return;
      this.value = value;
      this.error = undefined;
    } catch (error) {
      if (turn === this.turn) this.error = toApiError(error);
    } finally {
      if (turn === this.turn) this.busy = false;
    }
  };
}
