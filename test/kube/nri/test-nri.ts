import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const REGISTERED_MS = 20_000;
const REGISTERED = 'registered with the container runtime';
/** Of linux/capability.h. */
const CAP_SYS_RESOURCE = 24n;

/** Whether containers on this machine may be given more locked memory than this process has. */
export async function mayRaiseLimits(): Promise<boolean> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${effective}`) >> CAP_SYS_RESOURCE) % 2n === 1n;
}

/** `nabu nri` beside the container runtime of a cluster. */
export class TestNri implements AsyncDisposable {
  readonly #cluster: KubeCluster;
  readonly #name = `nri-${randomBytes(2).toString('hex')}`;

  private constructor(cluster: KubeCluster) {
    this.#cluster = cluster;
  }

  /** Resolves when it is registered. `memlock`: 'unlimited', or a number of bytes. */
  static async start(cluster: KubeCluster, memlock: string): Promise<TestNri> {
    const nri = new TestNri(cluster);
    const flags = { socket: cluster.nriSocket, 'kubelet-dir': cluster.kubeletDir, memlock };
    const words = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    await cluster.startProcess(nri.#name, NABU, ['nri', ...words]);
    await nri.untilRegistered(1);
    return nri;
  }

  /** Resolves when it has been registered so often. */
  async untilRegistered(times: number): Promise<void> {
    await until(`nabu nri to be registered ${times} times`, REGISTERED_MS, async () => {
      const log = await this.log();
      if (log.split(REGISTERED).length - 1 >= times) return true;
      throw new Error(log);
    });
  }

  async log(): Promise<string> {
    return await this.#cluster.logOf(this.#name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.stopProcess(this.#name);
  }
}
