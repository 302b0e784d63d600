import type { Command } from 'commander';
import { probeDrivers } from '../drivers.ts';
import { print, table } from '../output.ts';
import { registerGds } from './doctor-gds.ts';

export function register(program: Command): void {
  const doctor = program
    .command('doctor')
    .description('every driver of every port: available, or what is missing')
    .option('--json', 'print one JSON array')
    .action(async (options: { json?: boolean }) => {
      const rows = await probeDrivers();
      print(options.json === true, rows, () =>
        table(
          ['PORT', 'DRIVER', 'AVAILABLE', 'NOTE'],
          rows.map((row) => [
            row.port,
            row.driver,
            row.available ? 'yes' : 'no',
            row.available ? row.note : `needs ${row.missing}`,
          ]),
        ),
      );
    });
  registerGds(doctor);
}
