// The real control with its state on disk, on a map of six nodes that are not there: creating and deleting moves no data.
import { ControlFixture } from '../../support/csi/control-fixture.ts';

const [, , folder = '', socketPath = ''] = process.argv;
const TIB = 1024 ** 4;

await ControlFixture.start(folder, socketPath, 64 * TIB);
process.stdout.write('ready\n');
