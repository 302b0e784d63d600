#!/bin/sh
# Brings a Debian or Ubuntu machine to the point where the project builds: distribution packages, npm packages, generated code.
# usage: scripts/setup.sh [--test]     --test adds what only the tests and benchmarks need
# Does nothing that is already done: a second run costs a few stat calls.
set -eu
cd "$(dirname "$0")/.."

build_packages='build-essential cmake ninja-build pkg-config libisal-dev liburing-dev libxxhash-dev libuv1-dev nlohmann-json3-dev
  e2fsprogs xfsprogs util-linux mount procps ca-certificates'
bootstrap_npm=11.19.1
test_packages='doctest-dev fio clang-format runc containernetworking-plugins busybox-static iproute2'

packages=$build_packages
[ "${1-}" = --test ] && packages="$packages $test_packages"
# Any Node that runs npm will do: npm then brings the pinned one.
command -v npm >/dev/null 2>&1 || packages="$packages nodejs npm"

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | sed -n 's/ installed$//p')
missing=
for package in $packages; do
  case "
$installed
" in
    *"
$package
"*) ;;
    *) missing="$missing $package" ;;
  esac
done

if [ -n "$missing" ]; then
  echo "setup: installing distribution packages:$missing"
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      echo "setup: these packages are missing and neither root nor sudo is available to install them:$missing" >&2
      echo "setup: as root, run: apt-get update && apt-get install --no-install-recommends$missing" >&2
      exit 77
    fi
    as_root=sudo
  fi
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: apt-get is not here; this set-up knows Debian and Ubuntu. Install the equivalents of:$missing" >&2
    exit 77
  fi
  $as_root apt-get update -qq
  # shellcheck disable=SC2086 # a list of words on purpose
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

# One set-up at a time: two runs of npm in one tree would leave half of each.
mkdir -p build
exec 9>build/setup.lock
flock 9

stamp=node_modules/.nabu-lock.sha256
wanted=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ ! -x node_modules/node/bin/node ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  # An older Node would skip optional packages whose "engines" name a newer one, and these hold native binaries. It
  # fetches the pinned Node and an npm to run under it, and these install the rest.
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  if [ "$major" -lt 24 ]; then
    pinned=$(sed -n 's/^ *"node": "\([0-9.]*\)",*$/\1/p' package.json)
    echo "setup: fetching Node $pinned, as Node $major is too old"
    rm -rf build/bootstrap
    mkdir -p build/bootstrap
    echo '{"private": true}' >build/bootstrap/package.json
    npm install --prefix build/bootstrap --no-audit --no-fund --loglevel=error --save-exact "node@$pinned" "npm@$bootstrap_npm"
    PATH=$(pwd)/build/bootstrap/node_modules/.bin:$PATH
    export PATH
  fi
  echo "setup: installing npm packages"
  # Not `npm ci`: that refuses a lock file without the optional packages of other platforms, which a registry mirror may
  # lack. --no-save keeps to the versions and checksums of the lock file all the same, and leaves it alone.
  npm install --no-save --no-audit --no-fund --loglevel=error
  printf '%s\n' "$wanted" >"$stamp"
fi

newest_input=$(find proto scripts/codegen.ts package-lock.json -path proto/gen -prune -o \
  \( -name '*.proto' -o -name codegen.ts -o -name package-lock.json \) -newer proto/gen/services.js -print 2>/dev/null | head -1 || true)
if [ ! -f proto/gen/services.js ] || [ -n "$newest_input" ]; then
  echo "setup: generating code from proto/"
  node_modules/node/bin/node --disable-warning=ExperimentalWarning scripts/codegen.ts
fi
