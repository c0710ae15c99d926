// One thing a person asked for: whether it is under way, and why it did not work.

import { toApiError, type ApiError } from '../api/client';

export class Act {
  busy = $state(false);
  error = $state.raw<ApiError | undefined>(undefined);

  /** Whether it worked. A second press while it runs does nothing. */
  async run(act: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.error = undefined;
    try {
      await act();
      return true;
    } catch (caught) {
      this.error = toApiError(caught);
      return false;
    } finally {
      this.busy = false;
    }
  }

  refuse(error: ApiError): void {
    this.error = error;
  }
}
