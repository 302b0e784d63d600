import type { OnReadOpts, Socket } from 'node:net';
import type { Slab } from '../../slab/index.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';

export interface SocketOwner extends FrameSink {
  /** Once, when the socket is gone for whatever reason. */
  gone(err: Error | undefined): void;
}

/** A socket that speaks frames: reads in place, writes in batches. */
export class FrameSocket {
  readonly reader: FrameReader;
  readonly writer: FrameWriter;
  readonly #socket: Socket;
  #stalledSinceMs: number | undefined;
  #lastProgress = -1;

  constructor(owner: SocketOwner, slab: Slab, open: (onread: OnReadOpts) => Socket) {
    const reader = new FrameReader(owner);
    this.reader = reader;
    this.#socket = open({
      buffer: () => reader.next(),
      callback: (count) => reader.received(count),
    });
    this.writer = new FrameWriter(this.#socket, slab.buffer);
    let failure: Error | undefined;
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (err) => {
      failure ??= err;
    });
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.on('close', () => {
      reader.stop();
      owner.gone(failure);
    });
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get remote(): string {
    return `${this.#socket.remoteAddress ?? '?'}:${this.#socket.remotePort ?? 0}`;
  }

  /** After `accept` said hold: both targets are set now. */
  proceed(): void {
    if (this.#socket.destroyed) return;
    this.reader.proceed();
    if (!this.#socket.destroyed && !this.reader.held) this.#socket.resume();
  }

  /** Sends what is queued, then closes. */
  end(): void {
    this.reader.stop();
    this.writer.flush();
    this.#socket.end();
  }

  destroy(err?: Error): void {
    this.reader.stop();
    this.writer.flush(); // tells those who wait for their bytes that nobody reads them any more
    this.#socket.destroy(err);
  }

  /**
   * Whether the peer has neither taken what we wrote nor finished the frame it began for `limitMs`. Called from time to
   * time; a hold on our side does not count.
   */
  stalled(nowMs: number, limitMs: number): boolean {
    const busy = this.writer.bytesQueued > 0 || (this.reader.midFrame && !this.reader.held);
    const progress = this.#socket.bytesRead + this.writer.batchesLeft;
    if (!busy || progress !== this.#lastProgress) {
      this.#lastProgress = progress;
      this.#stalledSinceMs = nowMs;
      return false;
    }
    return nowMs - (this.#stalledSinceMs ?? nowMs) >= limitMs;
  }
}
