#!/bin/sh
# Configures and builds native/. usage: scripts/native.sh release|asan|tsan
set -eu
cd "$(dirname "$0")/.."
flavour=${1:?release, asan or tsan}
shift
case $flavour in
  release) folder=build/native; options='-DCMAKE_BUILD_TYPE=Release' ;;
  asan) folder=build/asan; options='-DCMAKE_BUILD_TYPE=RelWithDebInfo -DNABU_SANITIZE=address,undefined' ;;
  tsan) folder=build/tsan; options='-DCMAKE_BUILD_TYPE=RelWithDebInfo -DNABU_SANITIZE=thread' ;;
  *) echo "native: unknown flavour $flavour: release, asan or tsan" >&2; exit 64 ;;
esac
mkdir -p build
exec 8>"build/$flavour.lock"
flock 8
# A folder that gets its first CMakeLists.txt is new to a configured build, which only watches the files it knows.
folders=$(echo native/*/CMakeLists.txt)
if [ ! -f "$folder/build.ninja" ] || [ "$(cat "$folder/folders" 2>/dev/null)" != "$folders" ]; then
  echo "native: configuring $folder"
  # shellcheck disable=SC2086 # a list of options on purpose
  cmake -S native -B "$folder" -G Ninja $options >"build/$flavour-configure.log" 2>&1 || {
    cat "build/$flavour-configure.log" >&2
    exit 1
  }
  echo "$folders" >"$folder/folders"
fi
# Quiet when there is nothing to do, visible progress when there is.
NINJA_STATUS="native/$flavour [%f/%t] " ninja -C "$folder" -j "${NABU_JOBS:-$(nproc)}" "$@" | grep -v -E '^ninja: (no work to do|Entering directory)' || true
# grep hides ninja's own status; this second call costs milliseconds and gives it back.
ninja -C "$folder" -j 1 "$@" >/dev/null
