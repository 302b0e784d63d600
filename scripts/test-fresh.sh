#!/bin/sh
# `make up` on a machine with nothing installed: a bare Debian in a folder, this tree copied into it, no caches shared.
# Measures what README promises: first start under 10 minutes, second under 15 s, nothing left after `make down`.
# usage: scripts/test-fresh.sh [make target...]   with targets: runs these in the bare system instead
set -eu
cd "$(dirname "$0")/.."
tree=$(pwd)
fresh=$tree/build/fresh
inside=/opt/nabustore

if [ "$(id -u)" -ne 0 ]; then
  echo "test-fresh: needs root: it makes a root file system and mounts into it" >&2
  exit 77
fi
if ! command -v debootstrap >/dev/null 2>&1; then
  echo "test-fresh: installing distribution packages: debootstrap"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
fi

# The bare system is made once and kept; every run works on a copy of it.
if [ ! -f "$fresh/base.done" ]; then
  echo "test-fresh: making a bare Debian in $fresh/base"
  rm -rf "$fresh"
  mkdir -p "$fresh"
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # The mirror that this machine itself uses.
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
    awk -v release="$release" '$2 == release { print $1; exit }')
  debootstrap --variant=minbase --include=make,ca-certificates "$release" "$fresh/base" "$mirror" >"$fresh/debootstrap.log" 2>&1 || {
    tail -20 "$fresh/debootstrap.log" >&2
    exit 1
  }
  touch "$fresh/base.done"
fi

root=$fresh/root
rm -rf "$root"
cp -a "$fresh/base" "$root"
mkdir -p "$root$inside"
# What lies in the tree now, committed or not, without anything that git ignores.
git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null | tar -cf - -T - | tar -xf - -C "$root$inside"

# How this machine reaches its package mirrors: sources, certificates, the npm client's settings.
rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
for path in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/keyrings /etc/resolv.conf /etc/hosts \
  /etc/ssl/certs /usr/local/share/ca-certificates /usr/share/ca-certificates "$HOME/.npmrc"; do
  [ -e "$path" ] || continue
  mkdir -p "$root$(dirname "$path")"
  cp -aLf "$path" "$root$(dirname "$path")/" 2>/dev/null || true
done

# A mount and a pid namespace of its own: whatever is left inside ends with it.
exec unshare --mount --pid --fork --propagation private sh "$tree/scripts/test-fresh-inside.sh" "$root" "$inside" "$@"
