import { nativeProgram, output } from '../process.ts';
import type { Provider, Row } from '../provider.ts';

/** Both programs measure ours and the peer by themselves, in turns. */
export const provider: Provider = {
  rows: ['store.append.256KiB', 'store.read.256KiB', 'index.lookup', 'index.lookup.chained'],
  async *measure({ scope, wants, progress }) {
    if (wants('store.append.256KiB') || wants('store.read.256KiB')) {
      yield* rowsOf(await output(scope, [nativeProgram('store/store_bench'), await scope.folder()]));
    }
    if (wants('index.lookup') || wants('index.lookup.chained')) {
      progress('index: filling two tables with 10 M entries');
      yield* rowsOf(await output(scope, [nativeProgram('store/index_bench')]));
    }
  },
};

function rowsOf(lines: string): Row[] {
  return lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}
