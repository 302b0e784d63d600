import { NabuError } from '../common/errors/index.ts';
import type { Layout } from '../common/layout/index.ts';
import { ControlClient, type Volume } from '../engine/control/index.ts';

const CALL_TIMEOUT_MS = 30_000;
const VOLUME_ID = /^[0-9a-f]{32}$/;

/** Work with this machine's control; the connection is closed afterwards. */
export async function withControl<T>(layout: Layout, work: (control: ControlClient) => Promise<T>): Promise<T> {
  const control = new ControlClient({ kind: 'unix', path: layout.controlSocket });
  try {
    return await work(control);
  } finally {
    control.close();
  }
}

/** By name, or by id. VOLUME_NOT_FOUND when there is neither. */
export async function findVolume(layout: Layout, nameOrId: string): Promise<Volume> {
  return await withControl(layout, async (control) => {
    try {
      return await control.getVolumeByName(nameOrId, { timeoutMs: CALL_TIMEOUT_MS });
    } catch (err) {
      if (!NabuError.is(err, 'VOLUME_NOT_FOUND') || !VOLUME_ID.test(nameOrId)) throw err;
    }
    return await control.getVolume(nameOrId, { timeoutMs: CALL_TIMEOUT_MS });
  });
}
