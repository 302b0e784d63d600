import { join } from 'node:path';
import type { Context } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { skip } from '../support/skip.ts';
import { run } from './host/run.ts';
import { HELM_BUILD_MS, helmProgram } from './programs/helm.ts';

const CHART = join(import.meta.dirname, '../../charts/nabustore');
const RELEASE = 'nabu';

export type Rendered = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
} & Readonly<Record<string, unknown>>;

/** The chart of this repository. */
export class Chart {
  readonly #helm: string;

  private constructor(helm: string) {
    this.#helm = helm;
  }

  /** For `before` hooks. */
  static async open(context: Context): Promise<Chart> {
    context.timeout(HELM_BUILD_MS);
    return (await Chart.find()) ?? skip(context, 'Go, which helm is built with');
  }

  /** With helm, built where it is not there yet; undefined without Go. */
  static async find(): Promise<Chart | undefined> {
    const helm = await helmProgram();
    return helm === undefined ? undefined : new Chart(helm);
  }

  async lint(values: object = {}): Promise<string> {
    return await run(this.#helm, ['lint', '--strict', CHART, '--values', '-'], { input: JSON.stringify(values) });
  }

  /** The objects of one release. Rejects with what helm says. */
  async render(values: object = {}, namespace = 'nabustore', release = RELEASE): Promise<readonly Rendered[]> {
    const args = ['template', release, CHART, '--namespace', namespace, '--kube-version', 'v1.36.3', '--values', '-'];
    const text = await run(this.#helm, args, { input: JSON.stringify(values) });
    return parseAllDocuments(text)
      .map((document) => document.toJS() as Rendered | null)
      .filter((object) => object !== null);
  }
}
