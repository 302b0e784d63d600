export { type CommandOptions, type CommandResult, runCommand } from './run-command.ts';
