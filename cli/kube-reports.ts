import type { KubeConfig } from '@kubernetes/client-node';
import { raceAbort } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import type { ReportSpec } from './locality-report.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');
export type NodeReport = { readonly node: string; readonly spec: ReportSpec };

const KIND = { group: 'nabustore.io', version: 'v1alpha1', plural: 'localityreports' } as const;
const API_VERSION = 'nabustore.io/v1alpha1';
const TIMEOUT_MS = 30_000;
/** The writer's name in managedFields: a person who edits with kubectl is another one. */
const FIELD_MANAGER = 'nabu-locality';

/** LocalityReports by an API server. */
export class LocalityReports {
  readonly #config: KubeConfig;
  readonly #library: ClientLibrary;

  private constructor(config: KubeConfig, library: ClientLibrary) {
    this.#config = config;
    this.#library = library;
  }

  /** Without a path as kubectl finds it, or as the pod that this runs in. Throws CONFIG_INVALID. */
  static async open(kubeconfig: string | undefined): Promise<LocalityReports> {
    const library = await import('@kubernetes/client-node');
    const config = new library.KubeConfig();
    try {
      if (kubeconfig === undefined) config.loadFromDefault();
      else config.loadFromFile(kubeconfig);
    } catch (err) {
      const source = kubeconfig ?? 'kubeconfig';
      throw NabuError.of('CONFIG_INVALID', { source, reason: 'it is no usable kubeconfig' }, { cause: err });
    }
    return new LocalityReports(config, library);
  }

  /**
   * By server-side apply: the report is made, or replaced as far as it is ours. It goes with its node. Throws KUBE_NOT_FOUND (no such
   * node, or no such resource), KUBE_REFUSED with the field, PERMISSION_DENIED, UNAVAILABLE.
   */
  async publish(name: string, spec: ReportSpec): Promise<void> {
    const { CoreV1Api, CustomObjectsApi, setHeaderOptions, PatchStrategy } = this.#library;
    // Anew for each report: a node that was made again is another one.
    const node = await asked(`node ${name}`, this.#config.makeApiClient(CoreV1Api).readNode({ name }));
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: node.metadata?.uid ?? '' }];
    const body = { apiVersion: API_VERSION, kind: 'LocalityReport', metadata: { name, ownerReferences }, spec };
    const how = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict', force: true } as const;
    const type = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply);
    const objects = this.#config.makeApiClient(CustomObjectsApi);
    await asked(`report of ${name}`, objects.patchClusterCustomObject({ ...KIND, ...how, name, body }, type));
  }

  async list(): Promise<readonly NodeReport[]> {
    const objects = this.#config.makeApiClient(this.#library.CustomObjectsApi);
    const list: { items?: { metadata?: { name?: string }; spec: ReportSpec }[] } = await asked(
      'the list of reports',
      objects.listClusterCustomObject(KIND),
    );
    return (list.items ?? []).map(({ metadata, spec }) => ({ node: metadata?.name ?? '', spec }));
  }
}
async function asked<T>(operation: string, call: Promise<T>): Promise<T> {
  try {
    return await raceAbort(call, AbortSignal.timeout(TIMEOUT_MS), operation);
  } catch (err) {
    if (NabuError.is(err)) throw err;
    const code: unknown = Reflect.get(Object(err), 'code');
    if (typeof code !== 'number')
      throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason: 'the connection failed' }, { cause: err });
    const reason = messageIn(err) ?? `status ${code}`;
    if (code === 404) throw NabuError.of('KUBE_NOT_FOUND', { operation, reason }, { cause: err });
    if (code === 401 || code === 403) throw NabuError.of('PERMISSION_DENIED', { operation, reason }, { cause: err });
    if (code >= 400 && code < 500) throw NabuError.of('KUBE_REFUSED', { operation, reason }, { cause: err });
    throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
  }
}

/** Of the Status that the API server answers with, which names the field. */
function messageIn(err: unknown): string | undefined {
  const body: unknown = Reflect.get(Object(err), 'body');
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    const message: unknown = Reflect.get(Object(status), 'message');
    return typeof message === 'string' && message !== '' ? message : undefined;
  } catch {
    return undefined; // no Status: the code says it
  }
}
