import { join } from 'node:path';
import { Child, nativeProgram, ROOT } from '../process.ts';
import { type Bench, median, type Provider, row } from '../provider.ts';

const MIB = 1 << 20;
const DEPTH = 4;
const WARM_UP = 4_000;
const COUNT = 1_500;
const PINGS = 20_000;
const ROUNDS = 9;

type Result = { readonly p50Us: number; readonly seconds: number; readonly cpuSeconds: number };

/** A sending and a taking process. */
class Pair {
  readonly #driver: Child;

  private constructor(driver: Child) {
    this.#driver = driver;
  }

  static async ours({ scope }: Bench, payloadBytes: number, depth: number): Promise<Pair> {
    const program: [string, ...string[]] = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'test/bench/transport.ts'),
    ];
    const server = await Child.start(scope, [...program, 'serve']);
    const port = await server.line();
    return new Pair(await Child.start(scope, [...program, 'drive', String(payloadBytes), String(depth), port]));
  }

  static async peer({ scope }: Bench, payloadBytes: number, depth: number): Promise<Pair> {
    const program = nativeProgram('bench/bench_epoll_pair');
    const server = await Child.start(scope, [program, 'serve', String(payloadBytes)]);
    const port = await server.line();
    return new Pair(await Child.start(scope, [program, 'drive', String(payloadBytes), String(depth), port]));
  }

  async run(count: number): Promise<Result> {
    return JSON.parse(await this.#driver.ask(String(count))) as Result;
  }
}

/** The transport alone, without a store behind it. */
export const provider: Provider = {
  rows: ['transport.1MiB', 'transport.ping'],
  async *measure(bench) {
    if (bench.wants('transport.1MiB')) {
      const { ours, theirs } = await both(bench, MIB, DEPTH, COUNT, ({ seconds }) => (COUNT * MIB) / seconds / 1e9);
      yield row(
        'transport.1MiB',
        'GB/s',
        ours,
        theirs,
        `1 MiB payloads over one loopback TCP connection, ${DEPTH} in flight, a process at each end, CRC32C of each 4 KiB ` +
          `made by the sender and verified by the taker, median of ${ROUNDS} interleaved rounds of ${COUNT}; peer: C++ epoll pair`,
      );
    }
    if (bench.wants('transport.ping')) {
      const { ours, theirs } = await both(bench, 0, 1, PINGS, ({ p50Us }) => p50Us);
      yield row(
        'transport.ping',
        'us p50',
        ours,
        theirs,
        `a request and its answer without payload, one at a time, median of ${ROUNDS} interleaved rounds of ${PINGS}; peer: C++ epoll pair`,
      );
    }
  },
};

async function both(
  bench: Bench,
  payloadBytes: number,
  depth: number,
  count: number,
  figure: (result: Result) => number,
): Promise<{ ours: number; theirs: number }> {
  const our = await Pair.ours(bench, payloadBytes, depth);
  const their = await Pair.peer(bench, payloadBytes, depth);
  await our.run(WARM_UP);
  await their.run(WARM_UP);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    theirs.push(figure(await their.run(count)));
    ours.push(figure(await our.run(count)));
  }
  return { ours: median(ours), theirs: median(theirs) };
}
