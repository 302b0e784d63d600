import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { atomicWriteFile, usingPath } from '../../common/fs/index.ts';
import { type CdiContent, CdiSpecs, cdiKind, editsOf, type SpecName, specName } from '../cdi/index.ts';
import type { HostPaths } from '../resources/index.ts';
import type { ClaimRecord } from './claim-record.ts';
import { checkedUid } from './claim-records.ts';

/** Claims are named by their uid, which never comes again: runtimes keep what they know of a name. */
export const CLAIM_KIND = cdiKind('nabustore.io/claim');

/** Whoever the container runs as reads them. */
const FOLDER_MODE = 0o755;
const FILE_MODE = 0o644;

function contentOf({ claim, grants }: ClaimRecord): CdiContent {
  return { devices: grants.map((grant, at) => ({ name: cdiDevice(claim.uid, at), containerEdits: editsOf(grant) })) };
}

function cdiDevice(uid: string, at: number): string {
  return `${uid}-${at}`;
}

/** What is made for a claim: a CDI spec that the runtime reads, and a folder that containers see where there are files. */
export class ClaimFiles {
  readonly #specs: CdiSpecs;
  readonly #here: string;
  readonly #inHost: string;

  constructor({ cdiDir, stateDir, stateDirInHost }: Pick<HostPaths, 'cdiDir' | 'stateDir' | 'stateDirInHost'>) {
    // The claim lock is taken before anything is made for claims.
    this.#specs = new CdiSpecs({ folder: cdiDir, kind: CLAIM_KIND, isSoleWriter: true });
    this.#here = join(stateDir, 'dra', 'files');
    this.#inHost = join(stateDirInHost, 'dra', 'files');
  }

  /** 'nabustore.io/claim=UID-0': what the kubelet passes on for the device at a place. */
  static nameOf(uid: string, at: number): string {
    return `${CLAIM_KIND}=${cdiDevice(uid, at)}`;
  }

  /** The claim's folder, as a mount names it. */
  folderInHost(uid: string): string {
    return join(this.#inHost, checkedUid(uid));
  }

  /** Removes what a crash left half made, and what belongs to none of these claims. */
  async start(uids: ReadonlySet<string>): Promise<void> {
    await this.#specs.start();
    await this.#specs.keepOnly([...uids].map(specName));
  }

  /** Makes all that is not there as the record says. The spec comes last: by then what it mounts is there. Throws PATH_UNUSABLE. */
  async make(record: ClaimRecord): Promise<void> {
    const { uid } = record.claim;
    if (Object.keys(record.files).length > 0) await usingPath(this.#folder(uid), () => this.#fill(record));
    if (record.grants.length > 0 && !(await this.#isWritten(record))) {
      await this.#specs.write(specName(uid), contentOf(record));
    }
  }

  /** Takes everything away, the spec first. Does nothing for what is not there. */
  async remove(uid: string): Promise<void> {
    const name: SpecName = specName(checkedUid(uid));
    await this.#specs.remove(name);
    await rm(this.#folder(uid), { recursive: true, force: true });
  }

  async #fill({ claim: { uid }, files }: ClaimRecord): Promise<void> {
    await mkdir(this.#folder(uid), { recursive: true });
    await chmod(this.#folder(uid), FOLDER_MODE); // whatever the umask
    for (const [name, text] of Object.entries(files)) await this.#put(join(this.#folder(uid), name), text);
  }

  #folder(uid: string): string {
    return join(this.#here, checkedUid(uid));
  }

  async #put(path: string, text: string): Promise<void> {
    if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) await atomicWriteFile(path, text, FILE_MODE);
  }

  /** Runtimes look at a folder again whenever something in it changes: what is right is left alone. */
  async #isWritten(record: ClaimRecord): Promise<boolean> {
    const spec = await this.#specs.read(specName(record.claim.uid)).catch(() => undefined);
    return JSON.stringify(spec?.devices) === JSON.stringify(contentOf(record).devices);
  }
}
