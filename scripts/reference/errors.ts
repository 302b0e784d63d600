import { ERRORS } from '../../common/errors/index.ts';

/** docs/reference/errors.md, whole. */
export function errorReference(): string {
  const rows = Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { template, grpc, http, retryable }]) => {
      const message = template.replaceAll('{', '*').replaceAll('}', '*');
      return `| \`${code}\` | ${message} | ${grpc} | ${http} | ${retryable ? 'yes' : 'no'} |`;
    });
  return `# Errors

Generated from \`common/errors/registry.ts\` by \`node scripts/error-reference.ts\`; a test compares the two.

Every error that a client sees is one of these. Words in *italics* are fields: a program finds them by name beside the
message (\`--json\` on the command line, the trailing metadata \`nabu-error-bin\` over gRPC). \`INTERNAL\` carries a
correlation id alone: the detail is in the log of the process that answered. "Retry" says whether the same request may
succeed later with nothing changed by its sender.

| code | message | gRPC | HTTP | retry |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
