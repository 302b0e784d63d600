import { execFile } from 'node:child_process';
import { mkdir, open, readFile, rm, truncate } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { NabuError } from '../../../common/errors/index.ts';
import { GrpcServer, type Handlers, type MessageInit } from '../../../common/grpc/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import type { nabustore } from '../../../proto/gen/messages.js';
import { services } from '../../../proto/gen/services.js';

const run = promisify(execFile);

const ANSWER_MS = 100;

type Open = { device: string; sizeBytes: bigint; generation: bigint; readOnly: boolean };

/**
 * A volume server for tests of the plugin alone: every volume is a loop device on a sparse file. Lives outside the plugin, as the
 * real ones do, and keeps the bytes of a volume that is closed.
 */
export class LoopHost {
  readonly socketPath: string;
  /** Thrown by the next open, once. */
  failNextOpen: NabuError | undefined;
  /** While there are some, opens wait for them as long as they may, and then name them. */
  missingNodes: readonly string[] = [];
  /** Told by get and list. */
  state = 'serving';
  readonly #folder: string;
  readonly #sizeOf: (id: string) => Promise<bigint>;
  readonly #open = new Map<string, Open>();
  readonly #lost: Open[] = [];
  readonly #opening = new Map<string, Promise<Open>>();
  #server: GrpcServer | undefined;

  constructor(folder: string, socketPath: string, sizeOf: (id: string) => Promise<bigint>) {
    this.#folder = folder;
    this.socketPath = socketPath;
    this.#sizeOf = sizeOf;
  }

  get openIds(): string[] {
    return [...this.#open.keys()];
  }

  imagePath(id: string): string {
    return join(this.#folder, `${id}.img`);
  }

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    this.#server = new GrpcServer({ logger: silentLogger });
    this.#server.add(services['nabustore.v1.VolumeHost'], this.#handlers());
    await this.#server.listen({ kind: 'unix', path: this.socketPath });
  }

  /** Stops answering; devices stay. */
  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = undefined;
  }

  /** As when keeper and server die: the volume is not open any more, its device stays as it is. */
  lose(id: string): string {
    const found = this.#open.get(id);
    if (found === undefined) throw new RangeError(`${id} is not open`);
    this.#open.delete(id);
    this.#lost.push(found);
    return found.device;
  }

  /** Takes every device away, mounted or not, and the images with them. */
  async destroy(): Promise<void> {
    await this.stop();
    for (const { device } of [...this.#open.values(), ...this.#lost]) {
      if (!(await this.#isOurs(device))) continue; // detached meanwhile, and perhaps somebody else's by now
      for (const place of (await this.#mountsOf(device)).toReversed()) await run('umount', ['-l', place]);
      await run('losetup', ['-d', device]);
    }
    this.#open.clear();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #handlers(): Handlers<(typeof services)['nabustore.v1.VolumeHost']> {
    return {
      openVolume: async (request, { deadline }) => {
        if (this.missingNodes.length > 0) {
          await realClock.sleep(Math.max(0, deadline.remainingMs() - ANSWER_MS));
          throw NabuError.of('VOLUME_OPEN_BLOCKED', { volumeId: request.volumeId, nodes: this.missingNodes });
        }
        const failure = this.failNextOpen;
        this.failNextOpen = undefined;
        if (failure !== undefined) throw failure;
        const id = request.volumeId;
        const opening = this.#opening.get(id) ?? this.#attach(id, request.generation, request.readOnly);
        this.#opening.set(id, opening);
        await opening.finally(() => this.#opening.delete(id));
        return this.#view(id);
      },
      closeVolume: async ({ volumeId }) => {
        const found = this.#open.get(volumeId);
        if (found === undefined) return { existed: false };
        if ((await this.#mountsOf(found.device)).length > 0) {
          throw NabuError.of('FAILED_PRECONDITION', { operation: 'closing', reason: 'the device is in use' });
        }
        this.#open.delete(volumeId);
        await run('losetup', ['-d', found.device]);
        return { existed: true };
      },
      expandVolume: async ({ volumeId, sizeBytes }) => {
        const found = this.#open.get(volumeId);
        if (found === undefined) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId });
        if (sizeBytes > found.sizeBytes) {
          await truncate(this.imagePath(volumeId), Number(sizeBytes));
          await run('losetup', ['-c', found.device]);
          found.sizeBytes = sizeBytes;
        }
        return this.#view(volumeId);
      },
      getVolume: async ({ volumeId }) => {
        if (!this.#open.has(volumeId)) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId });
        return this.#view(volumeId);
      },
      listVolumes: async () => ({ volumes: this.openIds.map((id) => this.#view(id)) }),
    };
  }

  async #attach(id: string, generation: bigint, readOnly: boolean): Promise<Open> {
    const found = this.#open.get(id);
    if (found !== undefined) return found;
    const sizeBytes = await this.#sizeOf(id);
    const image = await open(this.imagePath(id), 'a');
    await image.close();
    await truncate(this.imagePath(id), Number(sizeBytes));
    const flags = ['--find', '--show', '--sector-size', '4096', ...(readOnly ? ['--read-only'] : [])];
    const { stdout } = await run('losetup', [...flags, this.imagePath(id)]);
    const opened = { device: stdout.trim(), sizeBytes, generation, readOnly };
    this.#open.set(id, opened);
    return opened;
  }

  #view(id: string): MessageInit<nabustore.v1.HostedVolume> {
    const found = this.#open.get(id);
    if (found === undefined) throw new RangeError(`${id} is not open`);
    const { device: devicePath, sizeBytes, generation, readOnly } = found;
    return { volumeId: id, devicePath, sizeBytes, generation, readOnly, state: this.state };
  }

  async #isOurs(device: string): Promise<boolean> {
    const backing = `/sys/block/${basename(device)}/loop/backing_file`;
    return (await readFile(backing, 'utf8').catch(() => '')).startsWith(this.#folder);
  }

  async #mountsOf(device: string): Promise<string[]> {
    const name = device.replace('/dev', '');
    return (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').flatMap((line) => {
      const fields = line.split(' ');
      const dash = fields.indexOf('-');
      return fields[dash + 2] === device || fields[3] === name ? [fields[4] ?? ''] : [];
    });
  }
}
