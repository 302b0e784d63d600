import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../../../common/grpc/index.ts';
import { ControlClient, type Volume } from '../../../engine/control/index.ts';
import { until } from '../host/until.ts';
import type { Plane } from '../plane/plane.ts';

const ROOT = join(import.meta.dirname, '../../..');
const READY_MS = 60_000;
const CALL = { timeoutMs: 30_000 };
const PAGE = 1000;
/** Nobody listens: storage nodes of these tests are records. */
const NO_PORT = 1;

export type StorageNodeGiven = {
  readonly id: string;
  readonly zone: string;
  readonly rack: string;
  /** A node of Kubernetes, where storage runs on one; else of its own name. */
  readonly host?: string;
  readonly capacityBytes: number;
};

/**
 * `nabu control` and the driver's own controller (`nabu csi`), as processes beside a control plane, and the official provisioner
 * between them and it: a claim becomes a volume record as in a cluster. Storage nodes are told to control by the test.
 */
export class StorageSide {
  /** Where control is reached: for `nabu scheduler-extender --control`. */
  readonly control: string;
  readonly client: ControlClient;
  readonly #plane: Plane;

  private constructor(plane: Plane, control: string) {
    this.#plane = plane;
    this.control = control;
    this.client = new ControlClient(parseAddress(control));
  }

  static async start(plane: Plane, nodes: readonly StorageNodeGiven[]): Promise<StorageSide> {
    const dir = join(plane.folder, 'nabu');
    const run = join(dir, 'run');
    mkdirSync(run, { recursive: true });
    const [control, csi] = [join(run, 'control.sock'), join(run, 'csi.sock')];
    const nabu = (name: string, ...args: string[]): unknown =>
      plane.children.start(name, process.execPath, [
        '--disable-warning=ExperimentalWarning',
        join(ROOT, 'cli/main.ts'),
        ...args,
        '--dir',
        dir,
      ]);
    nabu('control', 'control');
    const side = new StorageSide(plane, control);
    await until('control answers', READY_MS, () => {
      plane.children.refuseDead('control');
      return side.client.health(CALL);
    });
    for (const node of nodes) await side.register(node);
    nabu('csi', 'csi', '--mode', 'controller', '--endpoint', csi, '--control', control);
    plane.spawn('csi-provisioner', provisionerArgs(plane.kubeconfig, csi), { NAMESPACE: 'default' });
    return side;
  }

  /** Takes a storage node in, or changes what is known of it. */
  async register({ id, zone, rack, host = id, capacityBytes }: StorageNodeGiven): Promise<void> {
    await this.client.registerNode(
      {
        nodeId: id,
        address: { host: '127.0.0.1', port: NO_PORT },
        domain: { zone, rack, host },
        capacityBytes: BigInt(capacityBytes),
      },
      CALL,
    );
  }

  /** All volume records. */
  async volumes(): Promise<readonly Volume[]> {
    const volumes: Volume[] = [];
    let pageToken = '';
    do {
      const page = await this.client.listVolumes({ pageToken, limit: PAGE }, CALL);
      volumes.push(...page.volumes);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return volumes;
  }

  async stop(): Promise<void> {
    this.client.close();
    for (const name of ['csi-provisioner', 'csi', 'control']) await this.#plane.children.stop(name);
  }
}

/** Of the official sidecar, in front of the driver at `socket`. */
const provisionerArgs = (kubeconfig: string, socket: string): string[] => [
  `--csi-address=${socket}`,
  `--kubeconfig=${kubeconfig}`,
  '--enable-capacity',
  '--capacity-ownerref-level=-1',
  '--capacity-poll-interval=1s',
  '--kube-api-capacity-qps=100',
  '--kube-api-capacity-burst=100',
  '--kube-api-qps=1000',
  '--kube-api-burst=2000',
  '--extra-create-metadata',
  '--retry-interval-start=500ms',
  '--retry-interval-max=5s',
  '--v=2',
];
