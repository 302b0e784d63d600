import {
  type ImagePosition,
  MAX_IMAGE_BYTES,
  type NativeVolume,
  type NativeVolumeOptions,
  openNativeVolume,
  readImageHeader,
  type VolumeEvent,
} from '../../../../engine/volume/native.ts';

/** The least that stands between the native core and durable storage: images in a Map, acknowledged when told to. */
export class MemoryLog {
  readonly images = new Map<bigint, Buffer>();
  readonly slab = new ArrayBuffer(24 * 1024 * 1024);
  readonly bytes = Buffer.from(this.slab);
  /** Built and not acknowledged yet, in order. */
  inFlight: { sequence: bigint; image: Buffer }[] = [];
  /** Acknowledges at once what is built. */
  automatic = true;
  /** Fetches that were answered. */
  fetches = 0;
  /** Answers fetches at once; off: they pile up in `pendingFetches`. */
  answering = true;
  pendingFetches: Extract<VolumeEvent, { type: 'fetch' }>[] = [];
  sequence = 0n;
  checkpointSequence = 0n;
  events: VolumeEvent[] = [];
  #volume: NativeVolume | undefined;

  static readonly IMAGE_AT = 0;
  static readonly FETCH_AT = 4 * 1024 * 1024;
  static readonly CLEAN_AT = 8 * 1024 * 1024;
  static readonly USER_AT = 16 * 1024 * 1024;

  async close(): Promise<void> {
    await this.#volume?.close();
  }

  get volume(): NativeVolume {
    if (this.#volume === undefined) throw new Error('the volume is not open');
    return this.#volume;
  }

  position(): ImagePosition {
    this.sequence += 1n;
    return {
      generation: 1n,
      incarnation: 1n,
      sequence: this.sequence,
      previousGeneration: 0n,
      previousIncarnation: 0n,
      checkpointSequence: this.checkpointSequence,
    };
  }

  /** Opens a volume on what is durable: newest root, then every image above what it covers, then the ring. */
  async open(options: NativeVolumeOptions): Promise<{ entries: number; bytes: number }> {
    this.inFlight = [];
    this.pendingFetches = [];
    const volume = openNativeVolume(this.slab, options, (events) => this.#handle(events));
    this.#volume = volume;
    const sequences = [...this.images.keys()].sort((a, b) => (a < b ? -1 : 1));
    let covered = 0n;
    this.checkpointSequence = 0n;
    for (const sequence of [...sequences].reverse()) {
      const length = this.#stage(sequence);
      if (!readImageHeader(this.slab, MemoryLog.IMAGE_AT, length).hasRoot) continue;
      const root = await volume.loadRoot(MemoryLog.IMAGE_AT, length);
      covered = root.coveredSequence;
      this.checkpointSequence = sequence;
      break;
    }
    for (const sequence of sequences) {
      if (sequence > covered) await volume.applyImage(MemoryLog.IMAGE_AT, this.#stage(sequence));
    }
    // Never a number twice: what was in flight may lie somewhere.
    this.sequence = [...sequences, this.sequence].reduce((a, b) => (a > b ? a : b), 0n);
    const reapplied = volume.reapplyRing();
    volume.start();
    return reapplied;
  }

  #stage(sequence: bigint): number {
    const image = this.images.get(sequence);
    if (image === undefined) throw new Error(`no image ${sequence}`);
    image.copy(this.bytes, MemoryLog.IMAGE_AT);
    return image.length;
  }

  #handle(events: VolumeEvent[]): void {
    this.events.push(...events);
    for (const event of events) {
      if (event.type === 'seal-wanted') {
        if (this.automatic) this.seal();
      } else if (event.type === 'fetch') {
        if (this.answering) this.answer(event);
        else this.pendingFetches.push(event);
      }
    }
  }

  answer(event: Extract<VolumeEvent, { type: 'fetch' }>, status: 'ok' | 'lost' | 'retry' = 'ok'): void {
    this.fetches++;
    const image = this.images.get(event.sequence);
    if (image === undefined || status !== 'ok') {
      this.volume.fetched(event.id, 0, status === 'ok' ? 'lost' : status);
      return;
    }
    image.copy(this.bytes, MemoryLog.FETCH_AT, event.block * 4096, (event.block + event.count) * 4096);
    this.volume.fetched(event.id, MemoryLog.FETCH_AT, 'ok');
  }

  #built(length: number): void {
    const image = Buffer.from(this.bytes.subarray(MemoryLog.IMAGE_AT, MemoryLog.IMAGE_AT + length));
    this.inFlight.push({ sequence: this.sequence, image });
    if (this.automatic) this.acknowledge();
  }

  /** Seals everything that can be sealed. */
  seal(): number {
    for (let images = 0; ; images++) {
      const before = this.sequence;
      const sealed = this.volume.seal(MemoryLog.IMAGE_AT, MAX_IMAGE_BYTES, this.position());
      if (sealed === null) {
        this.sequence = before;
        return images;
      }
      this.#built(sealed.length);
    }
  }

  /** The oldest images in flight become durable. */
  acknowledge(count = this.inFlight.length): void {
    for (const { sequence, image } of this.inFlight.splice(0, count)) {
      this.images.set(sequence, image);
      if (readImageHeader(this.slab, MemoryLog.IMAGE_AT, this.#stage(sequence)).hasRoot) {
        this.checkpointSequence = sequence;
      }
      this.volume.commit(sequence);
    }
  }

  /** Begins a checkpoint and builds all its images. */
  checkpoint(): boolean {
    if (!this.volume.beginCheckpoint()) return false;
    for (let last = false; !last; ) {
      const built = this.volume.nextCheckpointImage(MemoryLog.IMAGE_AT, MAX_IMAGE_BYTES, this.position());
      last = built.last;
      this.#built(built.length);
    }
    return true;
  }

  /** Moves what lives in up to `max` log blobs into new ones. */
  async clean(max: number, utilisation: number): Promise<number> {
    const victims = this.volume.pickVictims(max, utilisation);
    for (const { sequence } of victims) {
      const image = this.images.get(sequence);
      if (image === undefined) throw new Error(`victim ${sequence} is not there`);
      image.copy(this.bytes, MemoryLog.CLEAN_AT);
      const staged = await this.volume.stageClean(MemoryLog.CLEAN_AT, image.length);
      if (staged.totalStagedBlocks > 1024) this.#drainStaged();
    }
    this.#drainStaged();
    return victims.length;
  }

  #drainStaged(): void {
    while (true) {
      const before = this.sequence;
      const built = this.volume.cleanImage(MemoryLog.IMAGE_AT, MAX_IMAGE_BYTES, this.position());
      if (built === null) {
        this.sequence = before;
        return;
      }
      this.#built(built.length);
    }
  }

  deleteDead(): number {
    const dead = this.volume.deletable(1000);
    for (const sequence of dead) this.images.delete(sequence);
    this.volume.forget(dead);
    return dead.length;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.bytes.set(data, MemoryLog.USER_AT);
    await this.volume.directWrite(offset, data.length, MemoryLog.USER_AT);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.volume.directRead(offset, length, MemoryLog.USER_AT);
    return Buffer.from(this.bytes.subarray(MemoryLog.USER_AT, MemoryLog.USER_AT + length));
  }
}
