import { Deadline, SingleFlight } from '../../common/concurrency/index.ts';
import type { CallContext } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** Something the plugin needs before it can serve; resolves to false, or throws, while it is not there. */
export type Part = { readonly name: string; ready(deadline: Deadline): Promise<boolean> };

export type ReadinessOptions = {
  readonly parts: readonly Part[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** A part that says nothing for so long counts as not ready. */
  readonly timeoutMs?: number;
};

const DEFAULT_TIMEOUT_MS = 1000;

/** Whether everything that this process serves can be served now. Probes at the same time share one look. */
export class Readiness {
  readonly #options: ReadinessOptions;
  readonly #looks = new SingleFlight<'look', boolean>();
  #missing = '';

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  check(context: Pick<CallContext, 'signal'>): Promise<boolean> {
    return this.#looks.run('look', () => this.#look(), context.signal);
  }

  async #look(): Promise<boolean> {
    const answers = await Promise.all(
      this.#options.parts.map(async (part) => [part.name, await this.#ask(part)] as const),
    );
    const missing = answers.flatMap(([name, ready]) => (ready ? [] : [name])).join(', ');
    if (missing !== this.#missing) {
      this.#missing = missing;
      if (missing === '') this.#options.logger.info('ready');
      else this.#options.logger.warn('not ready', { missing });
    }
    return missing === '';
  }

  async #ask(part: Part): Promise<boolean> {
    const timeoutMs = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    using deadline = new Deadline({ clock: this.#options.clock, operation: `asking ${part.name}`, timeoutMs });
    try {
      return await deadline.race(part.ready(deadline));
    } catch (err) {
      this.#options.logger.debug('part is not ready', { part: part.name, error: err });
      return false;
    }
  }
}
