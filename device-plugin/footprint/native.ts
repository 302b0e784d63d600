import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../common/errors/index.ts';

type FootprintAddon = { giveBack(): number };

const ADDON_PATH = '../../build/native/footprint/footprint.node';
let addon: FootprintAddon | undefined;

function load(): FootprintAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as FootprintAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/footprint/footprint.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'footprint', driver: 'native', reason }, { cause });
  }
}

/**
 * Lets go of code that was only run at the start, and of what malloc holds free: native/footprint. Some 10 ms on the
 * calling thread. Answers how many bytes of files were mapped and are not now. Throws DRIVER_UNAVAILABLE (not built),
 * FILE_INVALID.
 */
export function giveBack(): number {
  const { giveBack: call } = load();
  try {
    return call();
  } catch (err) {
    throw fromNative(err);
  }
}
