import { readFile, writeFile } from 'node:fs/promises';
import { CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import { skip } from '../../support/skip.ts';
import { Plane } from '../plane/plane.ts';
import { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { makeClass, makeNode, untilPodsCanBeMade } from './cluster-objects.ts';
import { ExtenderProcess } from './extender-process.ts';
import { Recorder } from './recorder.ts';
import { Relay } from './relay.ts';
import { StubProvisioner } from './stub-provisioner.ts';

export const NAMESPACE = 'default';
export const GIB = 2 ** 30;
/** The test's storage class. */
export const CLASS = 'fast';
/** Flags of an extender that has schedulers ask again when what it had reserved is free: in these clusters nothing else happens. */
export const WAKE = ['--wake', `${NAMESPACE}/nabu-extender`];
/** Nodes that are made. */
const AT_ONCE = 16;
/** On a machine that does more than these tests an answer may take longer than a scheduler waits. */
const PATIENT = ['--answer-within-ms', '5000'];

/** A control plane for one group of tests, with everything that they start beside it. */
export class Stage {
  readonly plane: Plane;
  readonly config: KubeConfig;
  readonly core: CoreV1Api;
  /** What the extender and the gate reach the API server by. */
  kubeconfig: string;
  readonly #ending = new AsyncDisposableStack();

  private constructor(plane: Plane) {
    this.plane = plane;
    this.config = plane.config();
    this.kubeconfig = plane.kubeconfig;
    this.core = this.config.makeApiClient(CoreV1Api);
    this.endsWith(() => plane.stop());
  }

  /** Pods can be made, and nobody schedules them. */
  static async make(): Promise<Stage> {
    const stage = new Stage(await Plane.start());
    await untilPodsCanBeMade(stage.config, NAMESPACE);
    return stage;
  }

  /** In the opposite order of these calls, when the tests are over. */
  endsWith(end: () => Promise<unknown>): void {
    this.#ending.defer(async () => void (await end()));
  }

  /** Big ones, on which only storage is scarce. */
  async nodes(count: number): Promise<void> {
    for (let first = 0; first < count; first += AT_ONCE) {
      const names = Array.from({ length: Math.min(AT_ONCE, count - first) }, (_, at) => `n${first + at}`);
      await Promise.all(names.map((name) => makeNode(this.config, name, { attachLimit: 1000, cpu: '640' })));
    }
  }

  /** With its class, for `room` claims of 1 GiB; what it publishes is half a second old. */
  async provisioner(room: number): Promise<StubProvisioner> {
    await makeClass(this.config, CLASS);
    const { config } = this;
    const capacityBytes = room * GIB;
    const options = { config, namespace: NAMESPACE, className: CLASS, capacityBytes, publishMs: 500 };
    const provisioner = new StubProvisioner(options);
    await provisioner.start();
    this.endsWith(() => provisioner.stop());
    return provisioner;
  }

  /** Listens; is ready only later. */
  async extender(...flags: string[]): Promise<ExtenderProcess> {
    const extender = await ExtenderProcess.start(this.kubeconfig, ...PATIENT, ...flags);
    this.endsWith(() => extender.stop());
    return extender;
  }

  async readyExtender(...flags: string[]): Promise<ExtenderProcess> {
    const extender = await this.extender(...flags);
    await extender.untilReady();
    return extender;
  }

  /** Lifts gates; no webhook is registered. */
  async gate(extenderPort: number, ...flags: string[]): Promise<SchedulerAdmissionProcess> {
    const where = ['--schedulers', 'default-scheduler', '--extender', `http://127.0.0.1:${extenderPort}`];
    const gate = await SchedulerAdmissionProcess.start(this.kubeconfig, ...where, ...flags);
    this.endsWith(() => gate.stop());
    return gate;
  }

  async recorder(extenderPort: number): Promise<Recorder> {
    const recorder = await Recorder.start(extenderPort);
    this.endsWith(() => recorder.close());
    return recorder;
  }

  async relay(to = 0): Promise<Relay> {
    const relay = await Relay.start();
    relay.to = to;
    this.endsWith(() => relay.close());
    return relay;
  }

  /** Between the API server and those of ours that are started from now on. */
  async relayApi(): Promise<Relay> {
    const { plane } = this;
    const relay = await this.relay(plane.apiServerPort);
    const direct = await readFile(plane.kubeconfig, 'utf8');
    this.kubeconfig = `${plane.kubeconfig}-relayed`;
    await writeFile(this.kubeconfig, direct.replaceAll(`:${plane.apiServerPort}`, `:${relay.port}`), { mode: 0o600 });
    return relay;
  }

  async end(): Promise<void> {
    await this.#ending.disposeAsync();
  }
}

/** Hooks of the group of tests in which it is called: a stage, what `fill` puts there, and the end of all of it. */
export function onStage(fill: (stage: Stage) => Promise<void>): void {
  let stage: Stage | undefined;
  before(async function () {
    const missing = await Plane.missing();
    if (missing !== '') skip(this, missing);
    stage = await Stage.make();
    await fill(stage);
  });
  after(async () => {
    await stage?.end();
  });
}
