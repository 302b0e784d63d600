#!/bin/sh
# Types, lint, unused code and C++ format. Runs all of them before it fails, so that one run tells everything.
set -u
cd "$(dirname "$0")/.."
failed=
step() {
  name=$1
  shift
  echo "check: $name"
  "$@" || failed="$failed $name"
}
step types node_modules/.bin/tsc -p tsconfig.json
step lint node_modules/.bin/biome check --error-on-warnings .
step unused node_modules/node/bin/node node_modules/knip/bin/knip.js --no-progress
format() {
  find native -type f \( -name '*.cc' -o -name '*.h' \) -print0 2>/dev/null | xargs -0 -r clang-format --dry-run -Werror
}
step format format
if [ -n "$failed" ]; then
  echo "check: failed:$failed" >&2
  exit 1
fi
