import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteFile, syncFolder, usingPath } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import { type ClaimRecord, parseRecord, recordText } from './claim-record.ts';

/** What the kubelet and the API server call a uid: nothing that could lead out of a folder. */
const UID = /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/;
const ENDING = '.json';
const FOLDER_MODE = 0o700;

/** Throws INVALID_ARGUMENT. */
export function checkedUid(uid: string): string {
  if (UID.test(uid)) return uid;
  const reason = `${JSON.stringify(uid.slice(0, 64))} is not 1 to 63 letters, digits and '-'`;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'claim uid', reason });
}

/**
 * Which claims hold what, across restarts: one file for each claim, written whole or not at all. A file that cannot be read
 * costs what it says and nothing else: it stays until its claim is prepared again or unprepared.
 */
export class ClaimRecords {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #records = new Map<string, ClaimRecord>();
  readonly #unreadable = new Set<string>();

  constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
  }

  /** Reads what there is. Once, before anything else. */
  async load(): Promise<void> {
    await this.#makeFolder();
    for (const file of await readdir(this.#folder)) {
      const uid = file.endsWith(ENDING) ? file.slice(0, -ENDING.length) : '';
      if (UID.test(uid)) await this.#read(uid);
      else await rm(join(this.#folder, file), { recursive: true, force: true }); // what a crash left half written
    }
  }

  get all(): readonly ClaimRecord[] {
    return [...this.#records.values()];
  }

  /** Uids of claims that hold something, and nobody knows what. */
  get unreadable(): ReadonlySet<string> {
    return this.#unreadable;
  }

  get(uid: string): ClaimRecord | undefined {
    return this.#records.get(uid);
  }

  /** Durable when it resolves. Throws PATH_UNUSABLE. */
  async put(record: ClaimRecord): Promise<void> {
    const { uid } = record.claim;
    await usingPath(this.#folder, async () => {
      await this.#makeFolder(); // somebody may have cleared the state
      await atomicWriteFile(this.#path(uid), recordText(record));
    });
    this.#records.set(uid, record);
    this.#unreadable.delete(uid);
  }

  /** Durable when it resolves; does nothing for one that is not there. Throws PATH_UNUSABLE. */
  async remove(uid: string): Promise<void> {
    await usingPath(this.#folder, async () => {
      await this.#makeFolder();
      await rm(this.#path(uid), { force: true });
      await syncFolder(this.#folder);
    });
    this.#records.delete(uid);
    this.#unreadable.delete(uid);
  }

  async #read(uid: string): Promise<void> {
    const path = this.#path(uid);
    const text = await readFile(path, 'utf8').catch((err: unknown) => ({
      why: String(Reflect.get(Object(err), 'code')),
    }));
    const record = typeof text === 'string' ? parseRecord(text, uid) : text;
    if (!('why' in record)) {
      this.#records.set(uid, record);
      return;
    }
    this.#unreadable.add(uid);
    this.#logger.error('what a claim holds cannot be read: it stands until the claim is prepared again or ends', {
      path,
      reason: record.why,
    });
  }

  async #makeFolder(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE });
  }

  #path(uid: string): string {
    return join(this.#folder, `${checkedUid(uid)}${ENDING}`);
  }
}
