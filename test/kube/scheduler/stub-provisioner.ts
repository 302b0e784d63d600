import { CoreV1Api, type KubeConfig, StorageV1Api, type V1PersistentVolumeClaim } from '@kubernetes/client-node';
import { quantityOf } from '../../../scheduler-extender/kube/index.ts';

const SELECTED = 'volume.kubernetes.io/selected-node';
const BOUND = 'pv.kubernetes.io/bind-completed';
const DRIVER = 'csi.nabustore.io';
const GIB = 2 ** 30;
const LOOK_MS = 25;

export type StubProvisionerOptions = {
  readonly config: KubeConfig;
  readonly namespace: string;
  readonly className: string;
  readonly capacityBytes: number;
  /** How long a published capacity lags behind what is made. */
  readonly publishMs: number;
};

/**
 * What external-provisioner and a driver do between them: makes volumes for claims that a node was chosen for, as long as there is
 * room (else it takes the choice back, as for RESOURCE_EXHAUSTED), and publishes what is left.
 */
export class StubProvisioner {
  readonly #core: CoreV1Api;
  readonly #storage: StorageV1Api;
  readonly #options: StubProvisionerOptions;
  #capacityBytes: number;
  #usedBytes = 0;
  /** UIDs of claims that have their bytes. */
  readonly #given = new Set<string>();
  #stopped = false;
  #publishedAtMs = Number.NEGATIVE_INFINITY;
  #publishedBytes = -1;
  #running: Promise<void> = Promise.resolve();
  made = 0;
  /** What went wrong last. */
  trouble: unknown;
  /** Times that somebody was let through for whom there was no room. */
  exhausted = 0;

  constructor(options: StubProvisionerOptions) {
    this.#options = options;
    this.#core = options.config.makeApiClient(CoreV1Api);
    this.#storage = options.config.makeApiClient(StorageV1Api);
    this.#capacityBytes = options.capacityBytes;
  }

  async start(): Promise<void> {
    await this.#publish();
    this.#running = this.#run();
  }

  async grow(byBytes: number): Promise<void> {
    this.#capacityBytes += byBytes;
    this.#publishedAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Whether what is left is what is published. */
  get isPublished(): boolean {
    return this.#publishedBytes === this.#capacityBytes - this.#usedBytes;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      // As long as the API server is away, or somebody else was first, it is tried again.
      await this.#round().catch((err: unknown) => {
        this.trouble = err;
      });
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  async #round(): Promise<void> {
    const { namespace, className } = this.#options;
    const { items } = await this.#core.listNamespacedPersistentVolumeClaim({ namespace });
    const waiting = items.filter(({ metadata, spec }) => {
      return (
        spec?.storageClassName === className && !spec.volumeName && metadata?.annotations?.[SELECTED] !== undefined
      );
    });
    for (const claim of waiting) await this.#provision(claim);
    await this.#publish();
  }

  async #provision(claim: V1PersistentVolumeClaim): Promise<void> {
    const { namespace, className } = this.#options;
    const { name = '', uid = '', annotations = {} } = claim.metadata ?? {};
    const storage = claim.spec?.resources?.requests?.storage ?? '';
    const sizeBytes = quantityOf(storage) ?? 0;
    const isGiven = this.#given.has(uid);
    if (!isGiven && this.#usedBytes + sizeBytes > this.#capacityBytes) {
      this.exhausted++;
      const { [SELECTED]: _, ...left } = annotations;
      const body = { ...claim, metadata: { ...claim.metadata, annotations: left } };
      await this.#core.replaceNamespacedPersistentVolumeClaim({ namespace, name, body });
      return;
    }
    if (!isGiven) {
      this.#given.add(uid);
      this.#usedBytes += sizeBytes;
      this.made++;
    }
    const volumeName = `pvc-${uid}`;
    const spec = {
      capacity: { storage },
      accessModes: ['ReadWriteOnce'],
      csi: { driver: DRIVER, volumeHandle: volumeName },
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      storageClassName: className,
    };
    await this.#core.createPersistentVolume({ body: { metadata: { name: volumeName }, spec } }).catch((err) => {
      if (Reflect.get(Object(err), 'code') !== 409) throw err; // made before the API server went away
    });
    const metadata = { ...claim.metadata, annotations: { ...annotations, [BOUND]: 'yes' } };
    const body = { ...claim, metadata, spec: { ...claim.spec, volumeName } };
    await this.#core.replaceNamespacedPersistentVolumeClaim({ namespace, name, body });
  }

  async #publish(): Promise<void> {
    const { namespace, className, publishMs } = this.#options;
    const leftBytes = this.#capacityBytes - this.#usedBytes;
    if (leftBytes === this.#publishedBytes || performance.now() - this.#publishedAtMs < publishMs) return;
    const first = this.#publishedBytes < 0;
    const metadata = { name: `${className}-everywhere` };
    const object = { metadata, storageClassName: className, capacity: `${leftBytes / GIB}Gi`, nodeTopology: {} };
    if (first) await this.#storage.createNamespacedCSIStorageCapacity({ namespace, body: object });
    else {
      const found = await this.#storage.readNamespacedCSIStorageCapacity({ namespace, name: metadata.name });
      const body = { ...found, capacity: object.capacity };
      await this.#storage.replaceNamespacedCSIStorageCapacity({ namespace, name: metadata.name, body });
    }
    this.#publishedBytes = leftBytes;
    this.#publishedAtMs = performance.now();
  }
}
