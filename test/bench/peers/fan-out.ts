import { Child, nativeProgram } from '../process.ts';
import type { Bench } from '../provider.ts';

export type FanOutResult = {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly seconds: number;
  /** Of the driving process. */
  readonly cpuSeconds: number;
};

export type FanOutOptions = {
  readonly op: 'read' | 'write';
  readonly pieces: number;
  readonly pieceBytes: number;
  /** How many pieces each server takes in turn: as much memory as a node's blobs come from. */
  readonly keeps: number;
  /** CRC32C of each 4 KiB made by the sender and verified by the taker. */
  readonly checks: boolean;
};

/** One bare C++ process per piece and a bare C++ client, over loopback TCP. */
export class FanOut {
  readonly #driver: Child;
  readonly #servers: readonly Child[];

  private constructor(driver: Child, servers: readonly Child[]) {
    this.#driver = driver;
    this.#servers = servers;
  }

  static async start({ scope }: Bench, { op, pieces, pieceBytes, keeps, checks }: FanOutOptions): Promise<FanOut> {
    const program = nativeProgram('bench/bench_fan_out');
    const servers: Child[] = [];
    const ports: string[] = [];
    for (let i = 0; i < pieces; i++) {
      const server = await Child.start(scope, [program, 'serve', String(pieceBytes), String(keeps)]);
      servers.push(server);
      ports.push(await server.line());
    }
    const driver = await Child.start(scope, [
      program,
      ...['drive', op, String(pieceBytes), checks ? 'check' : 'plain'],
      ...ports,
    ]);
    return new FanOut(driver, servers);
  }

  async run(rounds: number): Promise<FanOutResult & { readonly cpuSecondsOfAll: number }> {
    const before = this.#serverCpuSeconds();
    const result = JSON.parse(await this.#driver.ask(String(rounds))) as FanOutResult;
    return { ...result, cpuSecondsOfAll: result.cpuSeconds + this.#serverCpuSeconds() - before };
  }

  #serverCpuSeconds(): number {
    return this.#servers.reduce((sum, server) => sum + server.cpuSeconds(), 0);
  }
}
