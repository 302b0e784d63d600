import type { MessageInit } from '../../../common/grpc/index.ts';
import { csi } from '../../../proto/gen/messages.js';
import { NODE_NAME, type PluginFixture } from './plugin-fixture.ts';

export const MIB = 1n << 20n;
export const LIMIT = { timeoutMs: 60_000 };
export const { Mode } = csi.v1.VolumeCapability.AccessMode;

export type Capability = MessageInit<csi.v1.VolumeCapability>;

export function mounted(
  fsType = 'ext4',
  mode: number = Mode.SINGLE_NODE_WRITER,
  mountFlags: string[] = [],
): Capability {
  return { mount: { fsType, mountFlags }, accessMode: { mode } };
}

export function block(mode: number = Mode.SINGLE_NODE_WRITER): Capability {
  return { block: {}, accessMode: { mode } };
}

let made = 0;

/** One volume and the calls of its life, in the order in which an orchestrator makes them. */
export class VolumeLife {
  readonly fixture: PluginFixture;
  readonly capability: Capability;
  readonly id: string;
  readonly stagingPath: string;
  readonly context: Record<string, string>;
  publishContext: Record<string, string> = {};

  private constructor(fixture: PluginFixture, capability: Capability, volume: csi.v1.Volume, stagingPath: string) {
    this.fixture = fixture;
    this.capability = capability;
    this.id = volume.volumeId;
    this.context = volume.volumeContext;
    this.stagingPath = stagingPath;
  }

  static async create(
    fixture: PluginFixture,
    capability: Capability,
    changes: MessageInit<csi.v1.CreateVolumeRequest> = {},
  ): Promise<VolumeLife> {
    const name = `life-${made++}`;
    const request = { name, capacityRange: { requiredBytes: 64n * MIB }, volumeCapabilities: [capability], ...changes };
    const { volume } = await fixture.controller.createVolume(request, LIMIT);
    if (volume === null) throw new TypeError('CreateVolume answered without a volume');
    return new VolumeLife(fixture, capability, volume, await fixture.makeFolder(`staging-${name}`));
  }

  async attach(readonly = false): Promise<void> {
    const request = { volumeId: this.id, nodeId: NODE_NAME, volumeCapability: this.capability, readonly };
    this.publishContext = (await this.fixture.controller.controllerPublishVolume(request, LIMIT)).publishContext;
  }

  async detach(): Promise<void> {
    await this.fixture.controller.controllerUnpublishVolume({ volumeId: this.id, nodeId: NODE_NAME }, LIMIT);
  }

  async stage(changes: MessageInit<csi.v1.NodeStageVolumeRequest> = {}): Promise<void> {
    const request = {
      volumeId: this.id,
      publishContext: this.publishContext,
      stagingTargetPath: this.stagingPath,
      volumeCapability: this.capability,
      volumeContext: this.context,
      ...changes,
    };
    await this.fixture.node.nodeStageVolume(request, LIMIT);
  }

  async unstage(): Promise<void> {
    await this.fixture.node.nodeUnstageVolume({ volumeId: this.id, stagingTargetPath: this.stagingPath }, LIMIT);
  }

  async publish(targetPath: string, changes: MessageInit<csi.v1.NodePublishVolumeRequest> = {}): Promise<void> {
    const request = {
      volumeId: this.id,
      publishContext: this.publishContext,
      stagingTargetPath: this.stagingPath,
      targetPath,
      volumeCapability: this.capability,
      volumeContext: this.context,
      ...changes,
    };
    await this.fixture.node.nodePublishVolume(request, LIMIT);
  }

  async unpublish(targetPath: string): Promise<void> {
    await this.fixture.node.nodeUnpublishVolume({ volumeId: this.id, targetPath }, LIMIT);
  }

  async delete(): Promise<void> {
    await this.fixture.controller.deleteVolume({ volumeId: this.id }, LIMIT);
  }

  /** Attached, staged and published at a path of its own, which is returned. */
  async mount(name = 'target', readonly = false): Promise<string> {
    const target = this.fixture.path(`${name}-${this.id}`);
    await this.attach();
    await this.stage();
    await this.publish(target, { readonly });
    return target;
  }

  /** Everything back, in order. */
  async end(...targets: string[]): Promise<void> {
    for (const target of targets) await this.unpublish(target);
    await this.unstage();
    await this.detach();
    await this.delete();
  }
}
