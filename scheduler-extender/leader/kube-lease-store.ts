import type { CoordinationV1Api, V1Lease } from '@kubernetes/client-node';
import { NabuError } from '../../common/errors/index.ts';
import { kubeConfigOf, objectName } from '../kube-access/index.ts';
import type { LeaseRecord, LeaseStore } from './leader-lease.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');

function codeOf(err: unknown): unknown {
  return Reflect.get(Object(err), 'code');
}

/** A Lease of the API server. */
export class KubeLeaseStore implements LeaseStore {
  readonly #library: ClientLibrary;
  readonly #api: CoordinationV1Api;
  readonly #namespace: string;
  readonly #name: string;
  /** What else the Lease says is written back as it was. */
  #last: V1Lease | undefined;

  private constructor(library: ClientLibrary, api: CoordinationV1Api, namespace: string, name: string) {
    this.#library = library;
    this.#api = api;
    this.#namespace = namespace;
    this.#name = name;
  }

  /** `path`: '' as the pod that this process runs in. `lease`: NAMESPACE/NAME. Throws CONFIG_INVALID. */
  static async open(path: string, lease: string): Promise<KubeLeaseStore> {
    const { namespace, name } = objectName('lease', lease);
    const library = await import('@kubernetes/client-node');
    const config = kubeConfigOf(library, path);
    return new KubeLeaseStore(library, config.makeApiClient(library.CoordinationV1Api), namespace, name);
  }

  async read(): Promise<LeaseRecord | undefined> {
    try {
      const lease = await this.#api.readNamespacedLease({ name: this.#name, namespace: this.#namespace });
      this.#last = lease;
      const { spec, metadata } = lease;
      return {
        holder: spec?.holderIdentity ?? '',
        durationMs: (spec?.leaseDurationSeconds ?? 0) * 1000,
        renewedAt: spec?.renewTime === undefined ? '' : new Date(spec.renewTime).toISOString(),
        transitions: spec?.leaseTransitions ?? 0,
        version: metadata?.resourceVersion ?? '',
      };
    } catch (err) {
      if (codeOf(err) === 404) return undefined;
      throw unavailable(err);
    }
  }

  async write(record: LeaseRecord): Promise<void> {
    const [name, namespace] = [this.#name, this.#namespace];
    const time = new this.#library.V1MicroTime(record.renewedAt);
    const body: V1Lease = {
      metadata: { ...this.#last?.metadata, name, namespace },
      spec: {
        ...this.#last?.spec,
        holderIdentity: record.holder,
        leaseDurationSeconds: Math.round(record.durationMs / 1000),
        renewTime: time,
        leaseTransitions: record.transitions,
        ...(this.#last?.spec?.holderIdentity === record.holder ? {} : { acquireTime: time }),
      },
    };
    try {
      if (record.version === '') await this.#api.createNamespacedLease({ namespace, body });
      else await this.#api.replaceNamespacedLease({ name, namespace, body });
    } catch (err) {
      if (codeOf(err) === 409)
        throw NabuError.of(
          'RESOURCE_CONFLICT',
          { kind: 'Lease', id: name, reason: 'another one was first' },
          { cause: err },
        );
      throw unavailable(err);
    }
  }
}

function unavailable(err: unknown): NabuError {
  const code = codeOf(err);
  const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
  return NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
}
