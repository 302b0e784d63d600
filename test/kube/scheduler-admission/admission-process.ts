import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { get } from '../../support/extender/served.ts';
import { JUMPING_CLOCK } from '../../support/jumping-clock.ts';
import { Authority } from '../cluster/certificates.ts';
import { until } from '../host/until.ts';

const READY_MS = 60_000;
const ROOT = join(import.meta.dirname, '../../..');

/** `nabu scheduler-admission` beside a control plane of a test. */
export class SchedulerAdmissionProcess {
  readonly url: string;
  readonly healthPort: number;
  /** PEM. */
  readonly authority: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, healthPort: number, authority: string, child: ChildProcess, folder: string) {
    this.url = url;
    this.healthPort = healthPort;
    this.authority = authority;
    this.#child = child;
    this.#folder = folder;
  }

  /** Resolves when it listens. */
  static async start(kubeconfig: string, ...flags: string[]): Promise<SchedulerAdmissionProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-scheduler-admission-'));
    const authority = await Authority.make();
    const { certificate, key } = await authority.issue({ commonName: 'admission', addresses: ['127.0.0.1'] });
    const at = (name: string): string => join(folder, name);
    await writeFile(at('tls.crt'), certificate);
    await writeFile(at('tls.key'), key);
    const where = ['--kubeconfig', kubeconfig, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];
    const tls = ['--tls-cert', at('tls.crt'), '--tls-key', at('tls.key')];
    const args = [
      ...JUMPING_CLOCK,
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'cli/main.ts'),
      'scheduler-admission',
    ];
    const child = spawn(process.execPath, [...args, ...where, ...tls, ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const said: string[] = [];
    let healthPort = 0;
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      const { message, listen, health } = JSON.parse(line);
      if (message === 'health is told') healthPort = Number(String(health).split(':')[1]);
      if (message !== 'running') continue;
      child.stderr.resume(); // nobody reads the rest, and it must not block
      return new SchedulerAdmissionProcess(`https://${listen}`, healthPort, authority.pem, child, folder);
    }
    await rm(folder, { recursive: true });
    throw new Error(`nabu scheduler-admission has ended: ${said.join('\n')}`);
  }

  /** It knows the cluster. */
  async untilReady(): Promise<void> {
    await until('the webhook knows the cluster', READY_MS, async () => {
      const { status, text } = await get(this.healthPort, '/readyz');
      if (status !== 200) throw new Error(text);
      return true;
    });
  }

  /** How many pods it has been asked about. */
  async reviews(): Promise<number> {
    const { text } = await get(this.healthPort, '/metrics');
    const counts = [...text.matchAll(/^nabustore_admission_reviews_total\{.*\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Its wall clock goes an hour forward, at the next call two back, then to where it was. */
  jumpClock(): void {
    this.#child.kill('SIGUSR2');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit');
      this.#child.kill(signal);
      await gone;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
