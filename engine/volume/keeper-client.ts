import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { closeFd, type RawKeeperConnection, volumeAddon } from './native.ts';

const keeperStatus = z.object({
  pid: z.number(),
  serverPid: z.number(),
  /** The server that waits for its turn; 0 = none. */
  sparePid: z.number(),
  serverStarts: z.number(),
  /** Whether the server runs with PR_SET_IO_FLUSHER (needs CAP_SYS_RESOURCE). */
  ioFlusher: z.boolean(),
  volumes: z.number(),
});
const keptVolume = z.object({
  mountPath: z.string(),
  sizeBytes: z.number(),
  ringBytes: z.number(),
  /** '/dev/loopN', or '' before ATTACH_LOOP. */
  device: z.string(),
  meta: z.unknown(),
  /** This call made it; false: it was kept already. */
  created: z.boolean(),
});
const volumeList = z.object({ volumes: z.array(z.object({ volumeId: z.string(), device: z.string() })) });
const attached = z.object({ device: z.string() });
const nothing = z.object({});
const envelope = z.looseObject({ id: z.number(), ok: z.boolean(), reason: z.string().optional() });

export type KeeperStatus = z.infer<typeof keeperStatus>;
/** What a keeper holds of one volume. The descriptors are the caller's: give them to openNativeVolume, then close(). */
export type KeptVolume = z.infer<typeof keptVolume> & {
  readonly fuseFd: number;
  readonly ringFd: number;
  /** Closes both descriptors; the native volume has its own by then. */
  close(): void;
};

type Pending = {
  readonly operation: string;
  readonly resolve: (answer: { body: unknown; fds: number[] }) => void;
  readonly reject: (err: unknown) => void;
  readonly timer: Timer | undefined;
};

/** kKeeperProtocolVersion of native/volume/keeper. */
const PROTOCOL_VERSION = 1;
const QUICK_MS = 10_000;
const MAX_PENDING = 1024;

/**
 * Speaks to the nabu-keeper of a slot (native/volume/keeper/keeper.h has the messages). A lost connection rejects what is
 * under way with UNAVAILABLE; make a new client then.
 */
export class KeeperClient {
  readonly #connection: RawKeeperConnection;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #lost: string | undefined;

  private constructor(socketPath: string, clock: Clock, onLost?: (reason: string) => void) {
    this.#clock = clock;
    this.#connection = new (volumeAddon().KeeperConnection)(
      socketPath,
      (json, fds) => this.#receive(json, fds),
      (reason) => {
        this.#fail(reason);
        onLost?.(reason);
      },
    );
  }

  /** COMMAND_FAILED when nobody listens there. */
  static connect(socketPath: string, options: { clock: Clock; onLost?: (reason: string) => void }): KeeperClient {
    return new KeeperClient(socketPath, options.clock, options.onLost);
  }

  async ping(): Promise<KeeperStatus> {
    return keeperStatus.parse((await this.#request('PING', {}, QUICK_MS)).body);
  }

  async list(): Promise<z.infer<typeof volumeList>['volumes']> {
    return volumeList.parse((await this.#request('LIST', {}, QUICK_MS)).body).volumes;
  }

  /** Makes ring and FUSE mount of a volume, or gives those it keeps. ringBytes: multiple of 4096, 2 MiB to 4 GiB. meta: at most 8 KiB of JSON. */
  async add(volume: { volumeId: string; sizeBytes: number; ringBytes: number; meta: unknown }): Promise<KeptVolume> {
    return this.#kept(await this.#request('ADD', volume, QUICK_MS));
  }

  async get(volumeId: string): Promise<KeptVolume> {
    return this.#kept(await this.#request('GET', { volumeId }, QUICK_MS));
  }

  /**
   * Resolves when this process, which the keeper must have started, is the one that serves: none before it lives any more. Waits
   * until the signal aborts; UNAVAILABLE when the keeper goes.
   */
  async serve(signal: AbortSignal): Promise<void> {
    const turn = this.#request('SERVE', {}, undefined);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      await Promise.race([turn, aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      turn.catch(() => undefined); // given up, or told above
    }
  }

  /** What was found is served: from now on a spare may be started, and the next one at once when this process dies. */
  async ready(): Promise<void> {
    nothing.parse((await this.#request('READY', {}, QUICK_MS)).body);
  }

  /**
   * Memory that outlives this process, the same for the same name and length (a multiple of 4096). Its content means nothing; its
   * pages need not be taken again. The descriptor is the caller's.
   */
  async scratch(name: string, bytes: number): Promise<number> {
    const { fds } = await this.#request('SCRATCH', { name, bytes }, QUICK_MS);
    const [fd] = fds;
    if (fd === undefined)
      throw NabuError.of('PROTOCOL_ERROR', { peer: 'the keeper', reason: 'a descriptor is missing' });
    return fd;
  }

  async setMeta(volumeId: string, meta: unknown): Promise<void> {
    await this.#request('SET_META', { volumeId, meta }, QUICK_MS);
  }

  /** The block device of a volume; waits until a server answers its FUSE requests. Idempotent. */
  async attachLoop(volumeId: string, options: { readOnly: boolean; timeoutMs: number }): Promise<string> {
    const { body } = await this.#request('ATTACH_LOOP', { volumeId, readOnly: options.readOnly }, options.timeoutMs);
    return attached.parse(body).device;
  }

  /** Has the device take over the size that the server tells now. */
  async resizeLoop(volumeId: string, timeoutMs: number): Promise<void> {
    nothing.parse((await this.#request('RESIZE_LOOP', { volumeId }, timeoutMs)).body);
  }

  /**
   * Detaches device and mount and forgets the ring. Flush before: what is in the ring alone is gone. KEEPER_REFUSED while a file
   * system or a program holds the device, unless forced (its I/O then fails).
   */
  async remove(volumeId: string, options: { force: boolean; timeoutMs: number }): Promise<void> {
    await this.#request('REMOVE', { volumeId, force: options.force }, options.timeoutMs);
  }

  /** Ends keeper and server. KEEPER_REFUSED with volumes attached, unless forced. */
  async shutdown(options: { force: boolean }): Promise<void> {
    await this.#request('SHUTDOWN', options, QUICK_MS);
  }

  close(): void {
    this.#fail('the client was closed');
    this.#connection.close();
  }

  #request(op: string, body: object, timeoutMs: number | undefined): Promise<{ body: unknown; fds: number[] }> {
    if (this.#lost !== undefined) {
      return Promise.reject(NabuError.of('UNAVAILABLE', { target: 'the keeper', reason: this.#lost }));
    }
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(NabuError.of('QUEUE_FULL', { queue: 'requests to the keeper', limit: MAX_PENDING }));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const onTimeout = (): void => {
        this.#pending.delete(id);
        reject(NabuError.of('TIMEOUT', { operation: `${op} of the keeper`, timeoutMs: timeoutMs ?? 0 }));
      };
      const timer = timeoutMs === undefined ? undefined : this.#clock.setTimer(onTimeout, timeoutMs);
      this.#pending.set(id, { operation: op, resolve, reject, timer });
      try {
        this.#connection.send(JSON.stringify({ id, version: PROTOCOL_VERSION, op, ...body }));
      } catch (err) {
        this.#pending.delete(id);
        timer?.cancel();
        reject(err);
      }
    });
  }

  #receive(json: string, fds: number[]): void {
    const answer = envelope.safeParse(JSON.parse(json));
    const pending = answer.success ? this.#pending.get(answer.data.id) : undefined;
    if (!answer.success || pending === undefined) {
      for (const fd of fds) closeFd(fd); // the asker has given up
      return;
    }
    this.#pending.delete(answer.data.id);
    pending.timer?.cancel();
    if (answer.data.ok) {
      pending.resolve({ body: answer.data, fds });
    } else {
      const reason = answer.data.reason ?? 'it gave no reason';
      pending.reject(NabuError.of('KEEPER_REFUSED', { operation: pending.operation, reason }));
    }
  }

  #kept(answer: { body: unknown; fds: number[] }): KeptVolume {
    const [fuseFd, ringFd] = answer.fds;
    if (fuseFd === undefined || ringFd === undefined) {
      throw NabuError.of('PROTOCOL_ERROR', { peer: 'the keeper', reason: 'descriptors are missing' });
    }
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      closeFd(fuseFd);
      closeFd(ringFd);
    };
    return { ...keptVolume.parse(answer.body), fuseFd, ringFd, close };
  }

  #fail(reason: string): void {
    this.#lost ??= reason;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { timer, reject } of pending) {
      timer?.cancel();
      reject(NabuError.of('UNAVAILABLE', { target: 'the keeper', reason }));
    }
  }
}
