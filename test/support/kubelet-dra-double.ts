import assert from 'node:assert/strict';
import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../../common/grpc/index.ts';
import { realClock } from '../../common/ports/index.ts';
import type { k8s, pluginregistration, v1alpha1 } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/services.js';

type Plugin = ClientOf<(typeof services)['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin']>;
export type Claim = { readonly namespace: string; readonly name: string; readonly uid: string };

const CALL_MS = 10_000;
const REGISTER_MS = 20_000;
const LOOK_EVERY_MS = 10;

/**
 * The kubelet as a DRA driver sees it (Kubernetes 1.36, pkg/kubelet/pluginmanager and cm/dra), on real sockets: it finds a
 * registration socket, asks who that is, says whether it took it, then prepares and ends claims over the endpoint that
 * it was told.
 */
export class KubeletDraDouble implements Disposable {
  readonly registry: string;
  info: pluginregistration.PluginInfo | undefined;
  #plugin: GrpcClient | undefined;

  constructor(kubeletDir: string) {
    this.registry = join(kubeletDir, 'plugins_registry');
  }

  /** Waits until somebody answers on the socket, then does what the plugin manager does. */
  async register(driver: string, refuse = ''): Promise<pluginregistration.PluginInfo> {
    const socket = join(this.registry, `${driver}-reg.sock`);
    const untilMs = performance.now() + REGISTER_MS;
    for (;;) {
      const client = new GrpcClient({ address: { kind: 'unix', path: socket } });
      try {
        const registration = client.service(services['pluginregistration.Registration']);
        const info = await registration.getInfo({}, { timeoutMs: CALL_MS });
        const status = { pluginRegistered: refuse === '', error: refuse };
        await registration.notifyRegistrationStatus(status, { timeoutMs: CALL_MS });
        this.#plugin?.close();
        this.#plugin = new GrpcClient({ address: { kind: 'unix', path: info.endpoint } });
        this.info = info;
        return info;
      } catch (err) {
        // A socket of a process that was killed refuses until the next one has replaced it.
        if (!NabuError.is(err, 'UNAVAILABLE') || performance.now() > untilMs) throw err;
      } finally {
        client.close();
      }
      await realClock.sleep(LOOK_EVERY_MS);
    }
  }

  get plugin(): Plugin {
    return this.#client.service(services['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin']);
  }

  /** The answer for one claim: its devices, or the error as the kubelet shows it to the user. */
  async prepare(claim: Claim): Promise<readonly k8s.io.kubelet.pkg.apis.dra.v1.Device[]> {
    const { claims } = await this.plugin.nodePrepareResources({ claims: [claim] }, { timeoutMs: CALL_MS });
    const answer = claims[claim.uid];
    assert.ok(answer !== undefined, 'no answer for the claim');
    if (answer.error !== '') throw new Error(answer.error);
    return answer.devices;
  }

  async unprepare(claim: Claim): Promise<void> {
    const { claims } = await this.plugin.nodeUnprepareResources({ claims: [claim] }, { timeoutMs: CALL_MS });
    const answer = claims[claim.uid];
    assert.ok(answer !== undefined, 'no answer for the claim');
    if (answer.error !== '') throw new Error(answer.error);
  }

  /** Collects until the signal aborts. */
  async watchHealth(into: v1alpha1.NodeWatchResourcesResponse[], signal: AbortSignal): Promise<void> {
    const calls = this.#client.service(services['v1alpha1.DRAResourceHealth']);
    try {
      for await (const message of calls.nodeWatchResources({}, { signal })) into.push(message);
    } catch (err) {
      if (!NabuError.is(err)) throw err;
    }
  }

  [Symbol.dispose](): void {
    this.#plugin?.close();
  }

  get #client(): GrpcClient {
    assert.ok(this.#plugin !== undefined, 'not registered');
    return this.#plugin;
  }
}
