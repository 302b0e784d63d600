import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { get } from '../../support/extender/served.ts';
import { JUMPING_CLOCK } from '../../support/jumping-clock.ts';
import { until } from '../host/until.ts';

const ROOT = join(import.meta.dirname, '../../..');
const READY_MS = 60_000;

/** `nabu scheduler-extender` beside a control plane of a test, plain HTTP. */
export class ExtenderProcess {
  readonly port: number;
  /** Where health is told without TLS, with `--health`. */
  readonly healthPort: number | undefined;
  readonly #child: ChildProcess;

  private constructor(port: number, healthPort: number | undefined, child: ChildProcess) {
    this.port = port;
    this.healthPort = healthPort;
    this.#child = child;
  }

  /** Resolves when it listens. */
  static async start(kubeconfig: string, ...flags: string[]): Promise<ExtenderProcess> {
    const args = [
      ...JUMPING_CLOCK,
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'cli/main.ts'),
      'scheduler-extender',
    ];
    const where = ['--kubeconfig', kubeconfig, '--listen', '127.0.0.1:0'];
    const child = spawn(process.execPath, [...args, ...where, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      const { message, port, healthPort } = JSON.parse(line);
      if (message !== 'listening') continue;
      child.stderr.resume(); // nobody reads the rest, and it must not block
      return new ExtenderProcess(port, healthPort, child);
    }
    throw new Error(`the extender has ended: ${said.join('\n')}`);
  }

  async untilReady(): Promise<void> {
    await until('the extender is ready', READY_MS, async () => {
      const { status, text } = await get(this.healthPort ?? this.port, '/readyz');
      if (status !== 200) throw new Error(text);
      return true;
    });
  }

  /** SIGSTOP: it hangs until SIGCONT. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Its wall clock goes an hour forward, at the next call two back, then to where it was. */
  jumpClock(): void {
    this.#child.kill('SIGUSR2');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    this.#child.kill('SIGCONT'); // one that hangs would not hear of it
    await gone;
  }
}
