import { join } from 'node:path';
import { Deadline } from '../common/concurrency/index.ts';
import { formatAddress, GrpcServer, type SocketAddress } from '../common/grpc/index.ts';
import type { Logger } from '../common/logging/index.ts';
import type { Clock } from '../common/ports/index.ts';
import { services } from '../proto/gen/services.js';
import type { CsiConfig } from './config.ts';
import { Attachments } from './controller/attachments.ts';
import { controllerHandlers } from './controller/controller-service.ts';
import { Zones } from './controller/zones.ts';
import { Flights } from './flights.ts';
import { identityHandlers } from './identity/identity-service.ts';
import { Readiness } from './identity/readiness.ts';
import type { NodeParts } from './node/node-parts.ts';
import { nodeHandlers } from './node/node-service.ts';
import { OrphanCollector } from './node/orphans.ts';
import { StagedRecords } from './node/staged-records.ts';
import type { VolumeControl, VolumeHost } from './ports.ts';
import { requireNodeName } from './request/index.ts';

export type CsiPluginOptions = {
  readonly config: Omit<CsiConfig, 'dir' | 'endpoint' | 'control' | 'poolSize' | 'logLevel' | 'nodeId'>;
  readonly nodeName: string;
  readonly version: string;
  /** Where the node part keeps its records. */
  readonly stateFolder: string;
  readonly control: VolumeControl;
  readonly host: VolumeHost;
  readonly clock: Clock;
  readonly logger: Logger;
};

const MAX_WAITERS = 64;
/** How soon orphans are looked for again while the engine is not ready. */
const NOT_READY_RETRY_MS = 500;
const COLLECT_TIMEOUT_MS = 60_000;

/** The CSI plugin: Identity at once, Controller and Node as soon as what they call is there. */
export class CsiPlugin {
  readonly #options: CsiPluginOptions;
  readonly #server: GrpcServer;
  readonly #stop = new AbortController();
  #collecting: Promise<void> = Promise.resolve();
  #records: StagedRecords | undefined;
  #orphans: OrphanCollector | undefined;

  constructor(options: CsiPluginOptions) {
    this.#options = options;
    const { config, control, host, clock, logger } = options;
    const { mode, maxMessageBytes, callTimeoutMs } = config;
    requireNodeName('nodeId', options.nodeName);
    this.#server = new GrpcServer({ logger, clock, maxMessageBytes, maxCallMs: callTimeoutMs });
    const parts = [
      { name: 'control', ready: (deadline: Deadline) => control.ready(deadline) },
      ...(mode === 'controller'
        ? []
        : [{ name: 'volume servers', ready: (deadline: Deadline) => host.ready(deadline) }]),
    ];
    const readiness = new Readiness({ parts, clock, logger });
    const hasController = mode !== 'node';
    this.#server.add(
      services['csi.v1.Identity'],
      identityHandlers({ version: options.version, hasController, readiness }),
    );
    if (hasController) this.#addController();
    if (mode !== 'controller') this.#addNode();
  }

  /** Resolves when it listens; whether the engine is ready is Probe's to say. */
  async start(address: SocketAddress): Promise<SocketAddress> {
    await this.#records?.open();
    const bound = await this.#server.listen(address);
    this.#options.logger.info('listening', { address: formatAddress(bound), mode: this.#options.config.mode });
    if (this.#orphans !== undefined) this.#collecting = this.#collectForEver(this.#orphans);
    return bound;
  }

  /** Lets calls in progress finish. Mounted volumes are not touched: their servers are other processes. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#server.close();
    await this.#collecting;
  }

  #addController(): void {
    const { config, control, clock, nodeName } = this.#options;
    const named = config.knownNodes
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
    const isAnyNode = config.mode === 'controller' && named.length === 0;
    const handlers = controllerHandlers({
      control,
      zones: new Zones(control, clock),
      attachments: new Attachments({
        control,
        knownNodes: isAnyNode ? undefined : new Set([nodeName, ...named]),
        maxVolumesPerNode: config.maxVolumes,
      }),
    });
    this.#server.add(services['csi.v1.Controller'], handlers);
  }

  #addNode(): void {
    const { config, control, host, clock, nodeName, stateFolder } = this.#options;
    const logger = this.#options.logger.child({ component: 'node' });
    const records = new StagedRecords(join(stateFolder, 'staged'), logger);
    const flights = new Flights({
      name: 'work on volume',
      clock,
      workTimeoutMs: config.callTimeoutMs,
      maxWaiters: MAX_WAITERS,
    });
    const parts: NodeParts = { nodeName, control, host, records, flights, logger };
    this.#server.add(
      services['csi.v1.Node'],
      nodeHandlers({ parts, zone: config.zone, maxVolumes: config.maxVolumes }),
    );
    this.#records = records;
    this.#orphans = new OrphanCollector(parts);
  }

  async #collectForEver(orphans: OrphanCollector): Promise<void> {
    const { clock, config, logger } = this.#options;
    const { signal } = this.#stop;
    for (;;) {
      let pauseMs = config.orphanIntervalMs;
      try {
        using deadline = new Deadline({
          clock,
          operation: 'collecting orphans',
          timeoutMs: COLLECT_TIMEOUT_MS,
          parent: signal,
        });
        await deadline.race(orphans.collect(deadline));
      } catch (err) {
        if (signal.aborted) return;
        logger.debug('orphans cannot be collected yet', { error: err });
        pauseMs = Math.min(pauseMs, NOT_READY_RETRY_MS);
      }
      try {
        await clock.sleep(pauseMs, signal);
      } catch {
        return; // only ever the stop signal
      }
    }
  }
}
