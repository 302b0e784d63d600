import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import type { MachineDescription } from '../../support/machine-description.ts';
import { MachineTree } from '../../support/machine-tree.ts';
import { unmountBelow } from '../host/mounts.ts';
import { run } from '../host/run.ts';

const KIB_OF_PAGE = 2048;

/** The recorded node, with as many NUMA nodes and no huge pages: those are real, and mounted over it. */
const description: MachineDescription = {
  ...h200,
  hugePages: [
    {
      sizeKib: KIB_OF_PAGE,
      perNode: [
        [0, 0],
        [0, 0],
      ],
    },
  ],
};

/**
 * The H200 node as a tree on this machine: its recorded /sys and /proc, device files made with mknod of the recorded numbers,
 * which no driver has here, and the huge pages of this machine on its NUMA node 0.
 */
export class NodeMachine implements AsyncDisposable {
  readonly tree: MachineTree;

  private constructor() {
    this.tree = new MachineTree(description);
  }

  static async make(): Promise<NodeMachine> {
    const machine = new NodeMachine();
    try {
      await machine.#makeDeviceFiles('dev');
      const pool = `hugepages-${KIB_OF_PAGE}kB`;
      await machine.#bind(`/sys/kernel/mm/hugepages/${pool}`);
      await machine.#bind(`/sys/devices/system/node/node0/hugepages/${pool}`);
      return machine;
    } catch (err) {
      await machine[Symbol.asyncDispose]();
      throw err;
    }
  }

  /** A marker says 'c MAJOR MINOR'. Open to all, as udev makes those of RDMA and nvidia-fs. */
  async #makeDeviceFiles(folder: string): Promise<void> {
    for (const entry of readdirSync(this.tree.at(folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await this.#makeDeviceFiles(path);
      else if (entry.isFile()) await this.makeDeviceFile(path, readFileSync(this.tree.at(path), 'utf8').trim());
    }
  }

  async makeDeviceFile(path: string, numbers: string): Promise<void> {
    this.tree.remove(path);
    await run('mknod', ['-m', '0666', this.tree.at(path), ...numbers.split(' ')]);
  }

  async #bind(real: string): Promise<void> {
    const at = this.tree.at(real.slice(1));
    mkdirSync(at, { recursive: true });
    await run('mount', ['--bind', real, at]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await unmountBelow(this.tree.root);
    this.tree[Symbol.dispose]();
  }
}
