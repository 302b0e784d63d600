/**
 * The releases of cuFile whose keys we know, oldest first: 1.13 is the first that can do without nvidia-fs. Any other
 * is refused: a file for an unknown release could hold keys that it does not read, and cuFile does not say so.
 */
export const CUFILE_VERSIONS = ['1.13', '1.14', '1.15', '1.16', '1.17', '1.18', '1.19', '1.20'] as const;

export type CufileVersion = (typeof CUFILE_VERSIONS)[number];

/** From a release up to another, both included; without `until` it is still so in the newest one. */
export type CufileVersions = { readonly since: CufileVersion; readonly until?: CufileVersion };

export function includesVersion({ since, until }: CufileVersions, version: CufileVersion): boolean {
  const at = CUFILE_VERSIONS.indexOf(version);
  return at >= CUFILE_VERSIONS.indexOf(since) && (until === undefined || at <= CUFILE_VERSIONS.indexOf(until));
}

export function versionsText({ since, until }: CufileVersions): string {
  return until === undefined ? `from ${since} on` : `from ${since} to ${until}`;
}
