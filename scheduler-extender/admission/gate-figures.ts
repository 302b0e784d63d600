import { Counter, Gauge, type Registry } from 'prom-client';
import type { GateController } from '../gate/index.ts';

/** What the gate has done, beside the figures of the webhook. */
export function gateFigures(
  registry: Registry,
  gate: Pick<GateController, 'waiting' | 'unjudged' | 'lifted' | 'isOpen'>,
): void {
  new Gauge({
    registers: [registry],
    name: 'nabustore_gate_waiting_pods',
    help: 'Pods behind the scheduling gate.',
    collect() {
      this.set(gate.waiting);
    },
  });
  new Gauge({
    registers: [registry],
    name: 'nabustore_gate_unjudged_pods',
    help: 'Pods that are with a scheduler and neither placed nor refused.',
    collect() {
      this.set(gate.unjudged);
    },
  });
  new Gauge({
    registers: [registry],
    name: 'nabustore_gate_open',
    help: '1 while an extender answers and this one is elected to lift gates, else 0.',
    collect() {
      this.set(gate.isOpen ? 1 : 0);
    },
  });
  let told = 0;
  new Counter({
    registers: [registry],
    name: 'nabustore_gate_lifted_total',
    help: 'Pods that were let to the scheduler.',
    collect() {
      this.inc(gate.lifted - told);
      told = gate.lifted;
    },
  });
}
