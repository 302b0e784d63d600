import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../../../common/config/index.ts';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { type Logger, silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { controlOver } from '../../../csi/control-adapter.ts';
import { VolumeHostPool } from '../../../csi/host-adapter.ts';
import { CSI_CONFIG, CsiPlugin } from '../../../csi/index.ts';
import { ControlClient } from '../../../engine/control/index.ts';
import { services } from '../../../proto/gen/services.js';
import { ControlFixture } from './control-fixture.ts';
import { LoopHost } from './loop-host.ts';

type Services = typeof services;

export type PluginFixtureOptions = {
  readonly logger?: Logger;
  /** Options of the binary. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** The test brings a plugin of its own. */
  readonly withoutPlugin?: boolean;
};

export const NODE_NAME = 'this-node';

/** A plugin in this process over the real control service and loop devices, in a folder of its own. */
export class PluginFixture {
  readonly folder: string;
  readonly endpoint: string;
  readonly control: ControlFixture;
  readonly host: LoopHost;
  readonly client: GrpcClient;
  readonly identity: ClientOf<Services['csi.v1.Identity']>;
  readonly controller: ClientOf<Services['csi.v1.Controller']>;
  readonly node: ClientOf<Services['csi.v1.Node']>;
  readonly #options: PluginFixtureOptions;
  #plugin: { readonly plugin: CsiPlugin; readonly control: ControlClient; readonly host: VolumeHostPool } | undefined;

  private constructor(folder: string, control: ControlFixture, host: LoopHost, options: PluginFixtureOptions) {
    this.folder = folder;
    this.control = control;
    this.host = host;
    this.#options = options;
    this.endpoint = layoutOf(folder).csiSocket;
    this.client = new GrpcClient({ address: { kind: 'unix', path: this.endpoint }, maxMessageBytes: 64 << 20 });
    this.identity = this.client.service(services['csi.v1.Identity']);
    this.controller = this.client.service(services['csi.v1.Controller']);
    this.node = this.client.service(services['csi.v1.Node']);
  }

  static async start(options: PluginFixtureOptions = {}): Promise<PluginFixture> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-csi-'));
    const layout = layoutOf(folder);
    await mkdir(layout.control, { recursive: true });
    const control = await ControlFixture.start(layout.control, layout.controlSocket);
    const host = new LoopHost(layout.volumes, layout.volumeHostSocket(0), (id) => control.sizeOf(id));
    await host.start();
    const fixture = new PluginFixture(folder, control, host, options);
    if (options.withoutPlugin !== true) {
      await fixture.startPlugin();
      await fixture.client.waitForReady(5000);
    }
    return fixture;
  }

  /** A path that does not exist, in the fixture's folder. */
  path(name: string): string {
    return join(this.folder, name);
  }

  async makeFolder(name: string): Promise<string> {
    const path = this.path(name);
    await mkdir(path, { recursive: true });
    return path;
  }

  async startPlugin(): Promise<void> {
    const layout = layoutOf(this.folder);
    const config = parseConfig(CSI_CONFIG, { flags: { dir: this.folder, poolSize: 1, ...this.#options.flags } });
    const control = new ControlClient({ kind: 'unix', path: layout.controlSocket });
    const host = new VolumeHostPool(layout, config.poolSize);
    const plugin = new CsiPlugin({
      config,
      nodeName: NODE_NAME,
      version: '0.0.0',
      stateFolder: layout.csi,
      control: controlOver(control),
      host,
      clock: realClock,
      logger: this.#options.logger ?? silentLogger,
    });
    await plugin.start({ kind: 'unix', path: this.endpoint });
    this.#plugin = { plugin, control, host };
  }

  async stopPlugin(): Promise<void> {
    const running = this.#plugin;
    this.#plugin = undefined;
    await running?.plugin.close();
    running?.control.close();
    running?.host.close();
  }

  async destroy(): Promise<void> {
    this.client.close();
    await this.stopPlugin();
    await this.host.destroy();
    await this.control.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
