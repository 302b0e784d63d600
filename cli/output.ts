import Table from 'cli-table3';
import { NabuError } from '../common/errors/index.ts';

/** What a command says on standard output: one JSON value with --json, text otherwise. */
export function print(json: boolean, value: unknown, text: () => string): void {
  const line = json
    ? JSON.stringify(value, (_, field) => (typeof field === 'bigint' ? field.toString() : field))
    : text();
  process.stdout.write(`${line}\n`);
}

/** A borderless table for terminals, columns aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' };
  const sides = { 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '' };
  const made = new Table({
    head: [...head],
    chars: { ...none, ...sides, right: '', 'right-mid': '', middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  made.push(...rows.map((row) => [...row]));
  return made.toString();
}

/** Exit statuses of sysexits.h, by what a script may do about it. */
const EXIT_USAGE = 64;
const EXIT_UNAVAILABLE = 69;
const EXIT_SOFTWARE = 70;
const EXIT_RETRY = 75;

/** Tells a failure: the sentence, the code and, where there is one, what to do next. Sets the exit status. */
export function reportFailure(err: unknown, json: boolean): void {
  if (!NabuError.is(err)) {
    process.exitCode = EXIT_SOFTWARE;
    process.stderr.write(`nabu: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
    return;
  }
  const usage = ['INVALID_ARGUMENT', 'CONFIG_INVALID', 'POLICY_UNKNOWN', 'POLICY_TOO_WIDE'].includes(err.code);
  process.exitCode = usage ? EXIT_USAGE : err.code === 'UNAVAILABLE' ? EXIT_UNAVAILABLE : EXIT_RETRY;
  if (json) process.stdout.write(`${JSON.stringify({ error: err.toJSON() })}\n`);
  else process.stderr.write(`nabu: ${err.message}${advice(err)}\n`);
}

function advice(err: NabuError): string {
  if (err.code === 'UNAVAILABLE') return "\n  'nabu status' shows what runs; 'nabu up' starts what does not";
  if (err.code === 'VOLUME_OPEN_BLOCKED') return "\n  'nabu node start NODE' brings a node back";
  if (err.code === 'POLICY_TOO_WIDE')
    return "\n  choose a narrower policy, or start more nodes with 'nabu up --nodes N'";
  if (err.code === 'VOLUME_NOT_FOUND') return "\n  'nabu volume ls' lists the volumes";
  return '';
}
