import { nativeProgram, output } from '../process.ts';
import type { Provider, Row } from '../provider.ts';

/** The program measures both sides by itself, in turns, on one core. */
export const provider: Provider = {
  rows: ['4+2', '8+2']
    .flatMap((code) => [
      `ec.encode.${code}.isal`,
      `ec.encode.${code}.memcpy`,
      `ec.encode.${code}.isal.cold`,
      `ec.encode.${code}.memcpy.cold`,
      `ec.stripe.${code}`,
    ])
    .concat('ec.decode.4+2.two-lost', 'ec.crc32c'),
  async *measure({ scope }) {
    const lines = await output(scope, [nativeProgram('ec/ec_bench')]);
    for (const line of lines.trim().split('\n')) yield JSON.parse(line) as Row;
  },
};
