// One end of the `transport.*` rows, as bench_epoll_pair is of its peer: the tcp transport alone, no store behind it.
//
//   transport.ts serve                           prints its port; ends when its standard input does
//   transport.ts drive PAYLOAD_BYTES DEPTH PORT
//     for each line "N" on standard input: N payloads; prints {"p50Us":..,"seconds":..,"cpuSeconds":..}
import { createInterface } from 'node:readline';
import { Deadline } from '../../common/concurrency/index.ts';
import { createLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { crc32cBlocks, verifyBlocks } from '../../engine/ec/index.ts';
import { clientHello, type HelloInfo, OP } from '../../engine/protocol/index.ts';
import { Slab } from '../../engine/slab/index.ts';
import { payloadOf, TcpTransport } from '../../engine/transport/index.ts';

const [mode, ...rest] = process.argv.slice(2);
const CLUSTER = 'be'.repeat(16);
const TIMEOUT_MS = 300_000;
const MAX_CRCS = 16_384;
const hello: HelloInfo = {
  clusterId: CLUSTER,
  nodeId: 'bench',
  deviceId: '0'.repeat(32),
  incarnation: 1n,
  fencesComplete: true,
  label: 'bench',
};
const logger = createLogger({ level: 'warn' });
const slab = Slab.create({ sizeBytes: 64 << 20 });
const transport = new TcpTransport({ slab, clock: realClock, logger });

async function serve(): Promise<void> {
  const crcs = new Uint32Array(MAX_CRCS);
  const good = Buffer.alloc(0);
  const bad = Buffer.of(1);
  const listener = await transport.listen(
    { host: '127.0.0.1', port: 0 },
    async ({ meta, payload }) => {
      if (payload === undefined) return { meta: good };
      new Uint8Array(crcs.buffer).set(meta);
      return { meta: verifyBlocks(slab.buffer, payload.offset, payload.length, crcs) < 0 ? good : bad };
    },
    hello,
  );
  process.stdout.write(`${listener.address.port}\n`);
  for await (const _ of createInterface({ input: process.stdin }));
  await listener.close();
}

async function drive(payloadBytes: number, depth: number, port: number): Promise<void> {
  const deadline = new Deadline({ clock: realClock, operation: 'a benchmark', timeoutMs: TIMEOUT_MS });
  const connection = await transport.connect({ host: '127.0.0.1', port }, clientHello(CLUSTER, '', 'bench'), {
    deadline,
  });
  const lanes = Array.from({ length: depth }, (_, lane) => {
    const slot = slab.alloc(Math.max(1, payloadBytes));
    for (let i = 0; i < slot.lengthBytes; i++) slot.bytes[i] = (i * 31 + lane) & 0xff;
    const crcs = new Uint32Array(Math.ceil(payloadBytes / 4096));
    return { slot, crcs, meta: new Uint8Array(crcs.buffer) };
  });
  for await (const line of createInterface({ input: process.stdin })) {
    const count = Number(line);
    const us = new Float64Array(count);
    let begun = 0;
    const cpu = process.cpuUsage();
    const startMs = performance.now();
    await Promise.all(
      lanes.map(async ({ slot, crcs, meta }) => {
        while (begun < count) {
          const index = begun++;
          const atMs = performance.now();
          if (payloadBytes > 0) crc32cBlocks(slab.buffer, slot.offset, payloadBytes, crcs);
          const payload = payloadBytes > 0 ? payloadOf(slot, 0, payloadBytes) : undefined;
          const reply = await connection.request({ op: OP.putShard, meta, payload, deadline, mapEpoch: 1 });
          if (reply.meta.length !== 0) throw new Error('a checksum does not match');
          us[index] = (performance.now() - atMs) * 1000;
        }
      }),
    );
    const seconds = (performance.now() - startMs) / 1000;
    const used = process.cpuUsage(cpu);
    us.sort();
    const cpuSeconds = (used.user + used.system) / 1e6;
    process.stdout.write(`${JSON.stringify({ p50Us: us[count >> 1], seconds, cpuSeconds })}\n`);
  }
  connection.close();
  deadline[Symbol.dispose]();
}

if (mode === 'serve') await serve();
else if (mode === 'drive') {
  const [payloadBytes, depth, port] = rest.map(Number);
  await drive(payloadBytes ?? 0, depth ?? 1, port ?? 0);
} else {
  process.stderr.write('usage: transport.ts serve | drive PAYLOAD_BYTES DEPTH PORT\n');
  process.exitCode = 64;
}
