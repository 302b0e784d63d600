import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClientOf, GrpcClient } from '../common/grpc/index.ts';
import type { Layout } from '../common/layout/index.ts';
import type { csi } from '../proto/gen/messages.js';
import { services } from '../proto/gen/services.js';

/** CSI calls are waited for as long as kubelet's sidecars wait by default. */
const CALL_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 2_000;
/** VolumeCapability.AccessMode.Mode of CSI 1.12. */
const SINGLE_NODE_WRITER = 1;

export type NewVolume = {
  readonly name: string;
  readonly sizeBytes: number;
  readonly parameters: Readonly<Record<string, string>>;
};

/** Makes and mounts volumes with the calls that Kubernetes makes, in their order: CSI 1.12, "Volume Lifecycle". */
export class CsiClient implements Disposable {
  readonly #grpc: GrpcClient;
  readonly #identity: ClientOf<(typeof services)['csi.v1.Identity']>;
  readonly #controller: ClientOf<(typeof services)['csi.v1.Controller']>;
  readonly #node: ClientOf<(typeof services)['csi.v1.Node']>;
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#grpc = new GrpcClient({ address: { kind: 'unix', path: layout.csiSocket } });
    this.#identity = this.#grpc.service(services['csi.v1.Identity']);
    this.#controller = this.#grpc.service(services['csi.v1.Controller']);
    this.#node = this.#grpc.service(services['csi.v1.Node']);
  }

  /** Whether the plugin says that it can serve. Throws UNAVAILABLE while nothing listens. */
  async ready(): Promise<boolean> {
    const { ready } = await this.#identity.probe({}, { timeoutMs: PROBE_TIMEOUT_MS });
    return ready?.value ?? true;
  }

  /** Idempotent by name. */
  async create(volume: NewVolume): Promise<csi.v1.Volume> {
    const { volume: created } = await this.#controller.createVolume(
      {
        name: volume.name,
        capacityRange: { requiredBytes: BigInt(volume.sizeBytes) },
        volumeCapabilities: [capability()],
        parameters: volume.parameters,
      },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    if (created === null) throw new TypeError('CreateVolume answered without a volume');
    return created;
  }

  async delete(volumeId: string): Promise<void> {
    await this.#controller.deleteVolume({ volumeId }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Publishes to this node, stages, and bind-mounts at `target`. Every step is idempotent. */
  async mount(volumeId: string, target: string, options: { readonly readOnly: boolean }): Promise<void> {
    const timeout = { timeoutMs: CALL_TIMEOUT_MS };
    const { volume } = await this.#controller.controllerGetVolume({ volumeId }, timeout);
    const volumeContext = volume?.volumeContext ?? {};
    const { nodeId } = await this.#node.nodeGetInfo({}, timeout);
    const volumeCapability = capability();
    const { publishContext } = await this.#controller.controllerPublishVolume(
      { volumeId, nodeId, volumeCapability, volumeContext },
      timeout,
    );
    const stagingTargetPath = this.stagingPath(volumeId);
    await mkdir(stagingTargetPath, { recursive: true });
    const staged = { volumeId, stagingTargetPath, volumeCapability, publishContext, volumeContext };
    await this.#node.nodeStageVolume(staged, timeout);
    await mkdir(join(target, '..'), { recursive: true });
    await this.#node.nodePublishVolume({ ...staged, targetPath: target, readonly: options.readOnly }, timeout);
  }

  /** Takes every given mount away, then unstages and unpublishes. Idempotent. */
  async unmount(volumeId: string, targets: readonly string[]): Promise<void> {
    const timeout = { timeoutMs: CALL_TIMEOUT_MS };
    for (const targetPath of targets) await this.#node.nodeUnpublishVolume({ volumeId, targetPath }, timeout);
    await this.#node.nodeUnstageVolume({ volumeId, stagingTargetPath: this.stagingPath(volumeId) }, timeout);
    const { nodeId } = await this.#node.nodeGetInfo({}, timeout);
    await this.#controller.controllerUnpublishVolume({ volumeId, nodeId }, timeout);
  }

  /** Grows the volume, and its file system when it is mounted at `target`. Returns the new size in bytes. */
  async expand(volumeId: string, sizeBytes: number, target: string | undefined): Promise<number> {
    const timeout = { timeoutMs: CALL_TIMEOUT_MS };
    const capacityRange = { requiredBytes: BigInt(sizeBytes) };
    const grown = await this.#controller.controllerExpandVolume(
      { volumeId, capacityRange, volumeCapability: capability() },
      timeout,
    );
    if (target !== undefined) {
      await this.#node.nodeExpandVolume(
        {
          volumeId,
          volumePath: target,
          stagingTargetPath: this.stagingPath(volumeId),
          capacityRange,
          volumeCapability: capability(),
        },
        timeout,
      );
    }
    return Number(grown.capacityBytes);
  }

  stagingPath(volumeId: string): string {
    return join(this.#layout.csi, 'staging', volumeId);
  }

  [Symbol.dispose](): void {
    this.#grpc.close();
  }
}

function capability() {
  return { mount: { fsType: '', mountFlags: [], volumeMountGroup: '' }, accessMode: { mode: SINGLE_NODE_WRITER } };
}
