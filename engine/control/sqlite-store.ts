import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { NabuError } from '../../common/errors/index.ts';
import type { Resource, ResourceChange, ResourceDelete, ResourceStore, ResourceWrite } from './resource-store.ts';

const SCHEMA_VERSION = 1;
/** Writes that wait for the next transaction; one more is refused. */
const MAX_QUEUED = 16_384;

const SCHEMA = `
  CREATE TABLE resources (
    kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
  ) WITHOUT ROWID, STRICT;
  CREATE UNIQUE INDEX resources_by_name ON resources (kind, name) WHERE name IS NOT NULL;
  CREATE TABLE revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES (1, 0);
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

type Queued = {
  /** Applies the change inside the open transaction; returns it, or throws to be refused alone. */
  readonly apply: () => ResourceChange;
  readonly resolve: (change: ResourceChange) => void;
  readonly reject: (err: unknown) => void;
};

function open(path: string): DatabaseSync {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(path);
  // FULL: a commit is on the device when it returns, also after a power loss (sqlite.org/pragma.html#pragma_synchronous).
  db.exec(
    'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000',
  );
  const found = db.prepare('PRAGMA user_version').get()?.user_version;
  if (found === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
  else if (found !== SCHEMA_VERSION) {
    db.close();
    throw NabuError.of('FORMAT_UNKNOWN', { what: path, found: String(found), supported: SCHEMA_VERSION });
  }
  return db;
}

function conflict(kind: string, id: string, reason: string): NabuError {
  return NabuError.of('RESOURCE_CONFLICT', { kind, id, reason });
}

/**
 * The embedded driver. Writes that arrive within one turn of the event loop share one transaction and so one flush of the
 * log: at 64 in flight that is what makes thousands of creates a second out of a flush that takes a millisecond.
 */
export class SqliteStore implements ResourceStore {
  readonly driver = 'sqlite';
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #get: StatementSync;
  readonly #getByName: StatementSync;
  readonly #list: StatementSync;
  readonly #upsert: StatementSync;
  readonly #delete: StatementSync;
  readonly #saveRevision: StatementSync;
  readonly #watchers = new Map<string, Set<(change: ResourceChange) => void>>();
  #queue: Queued[] = [];
  #scheduled = false;
  #revision: bigint;
  #closed = false;

  /** `:memory:` keeps everything in memory. FILE_INVALID: no SQLite file, or another process has it open. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#db = open(path);
    } catch (cause) {
      if (NabuError.is(cause)) throw cause;
      const reason = cause instanceof Error ? cause.message : 'it does not open';
      throw NabuError.of('FILE_INVALID', { path, reason }, { cause });
    }
    const prepare = (sql: string): StatementSync => {
      const statement = this.#db.prepare(sql);
      statement.setReadBigInts(true);
      return statement;
    };
    this.#get = prepare('SELECT kind, id, name, version, body FROM resources WHERE kind = ? AND id = ?');
    this.#getByName = prepare('SELECT kind, id, name, version, body FROM resources WHERE kind = ? AND name = ?');
    this.#list = prepare(
      'SELECT kind, id, name, version, body FROM resources WHERE kind = ? AND id > ? ORDER BY id LIMIT ?',
    );
    this.#upsert = prepare(
      'INSERT INTO resources VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET name = excluded.name, version = excluded.version, body = excluded.body',
    );
    this.#delete = prepare('DELETE FROM resources WHERE kind = ? AND id = ?');
    this.#saveRevision = prepare('UPDATE revision SET value = ?');
    const revision = prepare('SELECT value FROM revision').get()?.value;
    this.#revision = typeof revision === 'bigint' ? revision : 0n;
  }

  async get(kind: string, id: string): Promise<Resource | undefined> {
    return this.#read(kind, id);
  }

  async getByName(kind: string, name: string): Promise<Resource | undefined> {
    this.#checkOpen();
    return toResource(this.#getByName.get(kind, name));
  }

  async list(kind: string, afterId: string, limit: number): Promise<Resource[]> {
    this.#checkOpen();
    return this.#list.all(kind, afterId, limit).flatMap((row) => toResource(row) ?? []);
  }

  async put(write: ResourceWrite): Promise<Resource> {
    const body = JSON.stringify(write.body);
    const { after } = await this.#enqueue(() => this.#applyPut(write, body));
    if (after === null) throw new TypeError('a put answered as a delete');
    return after;
  }

  async delete(change: ResourceDelete): Promise<void> {
    await this.#enqueue(() => this.#applyDelete(change));
  }

  watch(kind: string, listener: (change: ResourceChange) => void): () => void {
    const listeners = this.#watchers.get(kind) ?? new Set();
    this.#watchers.set(kind, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#watchers.clear();
    this.#db.close();
  }

  #read(kind: string, id: string): Resource | undefined {
    this.#checkOpen();
    return toResource(this.#get.get(kind, id));
  }

  #applyPut(write: ResourceWrite, body: string): ResourceChange {
    const { kind, id, name, expected } = write;
    const version = this.#read(kind, id)?.version ?? 0n;
    if (version !== expected) throw conflict(kind, id, `its version is ${version}, not ${expected}`);
    const namesake = name === null ? undefined : toResource(this.#getByName.get(kind, name));
    if (namesake !== undefined && namesake.id !== id) throw conflict(kind, id, `${namesake.id} has its name`);
    const next = ++this.#revision;
    this.#upsert.run(kind, id, name, next, body);
    return { kind, id, after: { kind, id, name, version: next, body: JSON.parse(body) } };
  }

  #applyDelete({ kind, id, expected }: ResourceDelete): ResourceChange {
    const version = this.#read(kind, id)?.version ?? 0n;
    if (version !== expected) throw conflict(kind, id, `its version is ${version}, not ${expected}`);
    this.#revision++;
    this.#delete.run(kind, id);
    return { kind, id, after: null };
  }

  #enqueue(apply: () => ResourceChange): Promise<ResourceChange> {
    this.#checkOpen();
    if (this.#queue.length >= MAX_QUEUED) {
      return Promise.reject(NabuError.of('QUEUE_FULL', { queue: this.#path, limit: MAX_QUEUED }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ apply, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      // After the I/O of this turn: everything that the sockets brought in it rides along.
      setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    this.#scheduled = false;
    const batch = this.#queue;
    if (batch.length === 0) return;
    this.#queue = [];
    const revisionBefore = this.#revision;
    const applied: { readonly write: Queued; readonly change: ResourceChange }[] = [];
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const write of batch) {
        try {
          applied.push({ write, change: write.apply() });
        } catch (err) {
          if (!NabuError.is(err)) throw err;
          write.reject(err);
        }
      }
      this.#saveRevision.run(this.#revision);
      this.#db.exec('COMMIT');
    } catch (cause) {
      this.#revision = revisionBefore;
      this.#refuse(batch, cause);
      return;
    }
    for (const { write, change } of applied) {
      write.resolve(change);
      this.#announce(change);
    }
  }

  #refuse(batch: readonly Queued[], cause: unknown): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    const reason = cause instanceof Error ? cause.message : 'the transaction failed';
    for (const write of batch) write.reject(NabuError.of('FILE_INVALID', { path: this.#path, reason }, { cause }));
  }

  #announce(change: ResourceChange): void {
    for (const listener of this.#watchers.get(change.kind) ?? []) listener(change);
  }

  #checkOpen(): void {
    if (this.#closed) throw NabuError.of('UNAVAILABLE', { target: 'the resource store', reason: 'it is closed' });
  }
}

function toResource(row: Record<string, unknown> | undefined): Resource | undefined {
  if (row === undefined) return undefined;
  const { kind, id, name, version, body } = row;
  if (typeof kind !== 'string' || typeof id !== 'string' || typeof version !== 'bigint' || typeof body !== 'string') {
    throw new TypeError('a row of the resource table has columns of other types');
  }
  return { kind, id, name: typeof name === 'string' ? name : null, version, body: JSON.parse(body) };
}
