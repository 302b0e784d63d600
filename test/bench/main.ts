import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Missing, type Provider } from './provider.ts';
import { Scope } from './scope.ts';

const ROWS = join(import.meta.dirname, 'rows');

/** `*` stands for any run of characters; without one, the pattern is looked for anywhere in the name. */
function matcher(pattern: string | undefined): (name: string) => boolean {
  if (pattern === undefined) return () => true;
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const expression = new RegExp(parts.length === 1 ? parts.join('') : `^${parts.join('.*')}$`);
  return (name) => expression.test(name);
}

const say = (text: string): void => {
  process.stderr.write(`bench: ${text}\n`);
};

class Totals {
  measured = 0;
  skipped: string[] = [];
  failed: string[] = [];
}

async function measure(
  provider: Provider,
  wants: (name: string) => boolean,
  scope: Scope,
  totals: Totals,
): Promise<void> {
  const left = new Set(provider.rows.filter(wants));
  if (left.size === 0) return;
  say(`measuring ${[...left].join(', ')}`);
  try {
    for await (const row of provider.measure({ scope, progress: say, wants })) {
      left.delete(row.name);
      if (!wants(row.name)) continue;
      process.stdout.write(`${JSON.stringify(row)}\n`);
      totals.measured++;
    }
    if (left.size > 0) throw new Error('the provider gave no such row');
  } catch (err) {
    const names = [...left].join(', ');
    if (err instanceof Missing) {
      totals.skipped.push(...left);
      say(`SKIPPED ${names}: ${err.message}`);
    } else {
      totals.failed.push(...left);
      say(`FAILED ${names}: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}`);
    }
  }
  for (const failure of await scope.close()) {
    totals.failed.push(failure);
    say(`FAILED to clean up ${failure}`);
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, list: { type: 'boolean' } } });
  const wants = matcher(values.only);
  const totals = new Totals();
  let open: Scope | undefined;
  const giveUp = (why: string): void => {
    say(`${why}: cleaning up`);
    // Twice: what was being made while the first went on is gone after the second.
    void (open?.close() ?? Promise.resolve([])).then(() => open?.close()).then(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => giveUp(signal));
  process.stdout.once('error', () => giveUp('nobody reads the figures'));
  for (const file of readdirSync(ROWS).sort()) {
    const { provider } = (await import(join(ROWS, file))) as { provider: Provider };
    if (values.list === true) {
      process.stdout.write(
        provider.rows
          .filter(wants)
          .map((name) => `${name}\n`)
          .join(''),
      );
      continue;
    }
    open = new Scope();
    await measure(provider, wants, open, totals);
  }
  if (values.list === true) return 0;
  if (totals.measured + totals.skipped.length + totals.failed.length === 0) {
    say(`no row is called ${values.only}; --list names them`);
    return 64;
  }
  say(`${totals.measured} rows measured, ${totals.skipped.length} skipped, ${totals.failed.length} failed`);
  return totals.failed.length > 0 ? 1 : 0;
}

process.exitCode = await main();
