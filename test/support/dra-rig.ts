import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../common/concurrency/index.ts';
import { type Logger, silentLogger } from '../../common/logging/index.ts';
import { realClock, realRandom } from '../../common/ports/index.ts';
import { type ResourceConfig, resourceConfigSchema } from '../../device-plugin/config/index.ts';
import { discover, type Inventory } from '../../device-plugin/discovery/index.ts';
import {
  type ClaimableConfig,
  type ClaimablePool,
  DraDriver,
  type DraDriverOptions,
} from '../../device-plugin/dra/index.ts';
import type { Unsubscribe } from '../../device-plugin/kubelet/index.ts';
import {
  type Cause,
  DeviceCheck,
  gdsKind,
  type HostPaths,
  nvmeVfioKind,
  type ResourceKind,
  rdmaKind,
  type UnitState,
} from '../../device-plugin/resources/index.ts';
import type { MachineDescription } from './machine-description.ts';
import { isMarker, MachineTree } from './machine-tree.ts';

/** A pool of a kind on a machine that stands still, whose units a test makes ill and well. */
export class DraPool implements ClaimablePool {
  readonly config: ClaimableConfig;
  readonly kind: ResourceKind;
  readonly machine: { inventory: Inventory };
  readonly #causes = new Map<string, Cause>();
  readonly #listeners = new Set<() => void>();

  constructor(config: ClaimableConfig, kind: ResourceKind, inventory: Inventory) {
    this.config = config;
    this.kind = kind;
    this.machine = { inventory };
  }

  get pool() {
    const units = (): readonly UnitState[] => this.#units();
    return {
      resource: this.kind.resource,
      get units() {
        return units();
      },
      devices: () => units().map(({ id, causes, numaNodes }) => ({ id, healthy: causes.length === 0, numaNodes })),
      watch: (listener: () => void): Unsubscribe => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    };
  }

  /** Undefined: well again. */
  against(device: string, cause: Cause | undefined): void {
    if (cause === undefined) this.#causes.delete(device);
    else this.#causes.set(device, cause);
    for (const listener of [...this.#listeners]) listener();
  }

  #units(): readonly UnitState[] {
    return this.kind.units(this.machine.inventory).map((unit) => {
      const cause = this.#causes.get(unit.device);
      return cause === undefined ? unit : { ...unit, causes: [cause, ...unit.causes] };
    });
  }
}

/** Where a real node has what a rig otherwise makes up. */
export type RealNode = { readonly nodeName: string; readonly kubeletDir: string; readonly cdiDir: string };

/** A recorded machine and the folders of a node for a DRA driver. */
export class DraRig implements Disposable {
  readonly tree: MachineTree;
  readonly root = mkdtempSync(join(tmpdir(), 'nd-'));
  readonly paths: HostPaths;
  readonly kubeletDir: string;
  readonly nodeName: string;
  readonly #isReal: boolean;

  /** On a real node the device files are real ones, of the recorded numbers, and containers see the rig's folders. */
  constructor(description: MachineDescription, real?: RealNode) {
    this.tree = new MachineTree(description);
    this.#isReal = real !== undefined;
    const { devRoot } = this.tree.roots;
    if (real !== undefined) makeDevices(devRoot);
    const stateDir = join(this.root, 'state');
    this.paths = {
      roots: this.tree.roots,
      devRootInHost: real === undefined ? '/dev' : devRoot,
      stateDir,
      stateDirInHost: real === undefined ? '/var/lib/nabustore/device-plugin' : stateDir,
      cdiDir: real?.cdiDir ?? join(this.root, 'cdi'),
      udevDirInHost: real === undefined ? '/run/udev' : join(this.root, 'udev'),
    };
    this.kubeletDir = real?.kubeletDir ?? join(this.root, 'k');
    this.nodeName = real?.nodeName ?? 'node-1';
    mkdirSync(join(this.root, 'udev'));
    mkdirSync(join(this.kubeletDir, 'plugins_registry'), { recursive: true });
  }

  async inventory(): Promise<Inventory> {
    return await discover(this.tree.roots, {
      signal: AbortSignal.timeout(15_000),
      ...(this.#isReal ? {} : { isCharDevice: isMarker }),
    });
  }

  /** `given`: as in the file of resources, of mode dra. */
  async pool(given: Readonly<Record<string, unknown>>): Promise<DraPool> {
    const config: ResourceConfig = resourceConfigSchema.parse({ mode: 'dra', ...given });
    const inventory = await this.inventory();
    const check = new DeviceCheck(this.paths, this.#isReal ? {} : { isCharDevice: isMarker });
    if (config.kind === 'rdma') return new DraPool(config, rdmaKind(config, this.paths, [], check), inventory);
    if (config.kind === 'gds') {
      const parts = {
        paths: this.paths,
        podResources: { list: async () => [] },
        addresses: { of: async () => [] },
        clock: realClock,
        logger: silentLogger,
      };
      return new DraPool(config, gdsKind(config, [], parts, check), inventory);
    }
    if (config.kind === 'nvme-vfio') return new DraPool(config, nvmeVfioKind(config, this.paths, [], check), inventory);
    throw new RangeError(`${config.kind} is not for claims`);
  }

  driver(access: DraDriverOptions['access'], rest: Partial<DraDriverOptions> & { logger?: Logger } = {}): DraDriver {
    return new DraDriver({
      nodeName: this.nodeName,
      kubeletDir: this.kubeletDir,
      paths: this.paths,
      access,
      clock: realClock,
      random: realRandom,
      logger: silentLogger,
      // A documentation network (RFC 5737), numbered by the interface's name.
      addresses: { of: async (name) => [`192.0.2.${Number(/\d+/.exec(name)?.[0]) % 250}`] },
      ...rest,
      limits: { lookMs: 50, publisher: { gatherMs: 5, firstPauseMs: 10, mostPauseMs: 100 }, ...rest.limits },
    });
  }

  deadline(timeoutMs = 10_000): Deadline {
    return new Deadline({ clock: realClock, operation: 'a call in a test', timeoutMs });
  }

  /** Names of CDI specs. */
  get specs(): string[] {
    try {
      return readdirSync(this.paths.cdiDir).sort();
    } catch {
      return [];
    }
  }

  spec(uid: string): unknown {
    return JSON.parse(readFileSync(join(this.paths.cdiDir, `nabustore.io-claim_${uid}.json`), 'utf8'));
  }

  /** A file in the folder that containers of a claim see. */
  file(uid: string, name: string): string {
    return readFileSync(join(this.paths.stateDir, 'dra', 'files', uid, name), 'utf8');
  }

  [Symbol.dispose](): void {
    this.tree[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A marker of a device file says 'c MAJOR MINOR'. */
function makeDevices(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) makeDevices(path);
    if (!entry.isFile()) continue;
    const numbers = readFileSync(path, 'utf8').trim().split(' ');
    rmSync(path);
    execFileSync('mknod', ['-m', '0666', path, ...numbers]);
  }
}
