// A process that replaces one spec and removes another, and is killed right before its n-th operation on files:
// `node crashing-writer.ts FOLDER N`. It exits with 0 when it has fewer than n.
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const [, , folder = '', step = ''] = process.argv;
let left = Number(step);

function count(owner: object, names: readonly string[]): void {
  for (const name of names) {
    const original: unknown = Reflect.get(owner, name);
    if (typeof original !== 'function') throw new TypeError(`${name} is no function`);
    const counted = function (this: unknown, ...args: unknown[]): unknown {
      if (--left === 0) process.kill(process.pid, 'SIGKILL');
      return Reflect.apply(original, this, args);
    };
    Reflect.set(owner, name, counted);
  }
}

const handle = await fs.open('/dev/null');
const prototype: unknown = Object.getPrototypeOf(handle);
await handle.close();

const { CdiSpecs, cdiKind, specName } = await import('../../../../device-plugin/cdi/index.ts');
count(Object(prototype), ['writeFile', 'sync']);
count(fs, ['open', 'rename', 'unlink', 'mkdir', 'readdir', 'rm']);
syncBuiltinESMExports();

const specs = new CdiSpecs({ folder, kind: cdiKind('nabustore.io/claim') });
await specs.start();
await specs.write(specName('a'), { devices: [{ name: 'a', containerEdits: { env: ['A=new'] } }] });
await specs.keepOnly([specName('a')]);
