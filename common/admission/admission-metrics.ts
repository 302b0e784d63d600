import { Counter, Histogram, Registry } from 'prom-client';
import type { ReviewOutcome } from './admission-review.ts';

/** The figures of an admission server. */
export class AdmissionMetrics {
  readonly registry = new Registry();
  readonly #reviews = new Counter({
    registers: [this.registry],
    name: 'nabustore_admission_reviews_total',
    help: 'Pods that were looked at, by what became of them.',
    labelNames: ['outcome'],
  });
  readonly #latency = new Histogram({
    registers: [this.registry],
    name: 'nabustore_admission_review_duration_seconds',
    help: 'Time a review took, without its way over the network.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1],
  });

  constructor() {
    for (const outcome of ['untouched', 'patched', 'refused', 'invalid']) this.#reviews.inc({ outcome }, 0);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  async exposition(): Promise<string> {
    return await this.registry.metrics();
  }

  reviewed(outcome: ReviewOutcome | 'invalid', latencyMs: number): void {
    this.#reviews.inc({ outcome });
    this.#latency.observe(latencyMs / 1000);
  }
}
