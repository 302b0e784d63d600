import type { Attribute } from './attribute.ts';
import { fieldsOf } from './attribute.ts';
import type { PciFunction } from './pci.ts';
import { eachInTurn, type Survey } from './survey.ts';

/** What the NVIDIA driver says of a GPU. */
export type GpuModel = { readonly model: string; readonly uuid: string | null };

/** An NVIDIA GPU. Known for alignment and for cuFile's sake, never advertised. */
export type Gpu = { readonly pci: PciFunction; readonly driverView: GpuModel | null };

const NVIDIA = '10de';
/** VGA controller and 3D controller: what NVIDIA's GPUs say they are. */
const DISPLAY_CLASS = /^030[02]/;

/** /proc/driver/nvidia/gpus/<address>/information (NVIDIA driver README, chapter on the /proc interface). */
export const gpuModel: Attribute<GpuModel> = {
  expected: 'a line Model: and a line GPU UUID:',
  parse(text) {
    const fields = fieldsOf(text, ':');
    const model = fields.get('Model') ?? '';
    const uuid = fields.get('GPU UUID') ?? '';
    // The UUID reads GPU-???????? until something has used the GPU.
    return model === '' ? undefined : { model, uuid: /^GPU-[0-9a-f-]{36}$/.test(uuid) ? uuid : null };
  },
};

export function isGpu({ vendor, class: code }: Pick<PciFunction, 'vendor' | 'class'>): boolean {
  return vendor === NVIDIA && code !== null && DISPLAY_CLASS.test(code);
}

export async function discoverGpus(survey: Survey, functions: readonly PciFunction[]): Promise<readonly Gpu[]> {
  return await eachInTurn(functions.filter(isGpu), async (pci) => ({
    pci,
    driverView: await survey.value(survey.proc, `driver/nvidia/gpus/${pci.address}/information`, gpuModel, 'normal'),
  }));
}
