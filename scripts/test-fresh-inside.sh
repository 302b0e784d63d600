#!/bin/sh
# The inner half of test-fresh.sh, in namespaces of its own. usage: test-fresh-inside.sh ROOT FOLDER [make target...]
set -eu
root=$1
folder=$2
shift 2
passed=0
failed=0

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"

inside() {
  env -i HOME="$HOME" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM-dumb}" \
    ${SSL_CERT_FILE+SSL_CERT_FILE="$SSL_CERT_FILE"} ${NODE_EXTRA_CA_CERTS+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} \
    chroot "$root" sh -c "cd $folder && $1"
}

# step SECONDS SENTENCE COMMAND: the command must succeed within that time.
step() {
  limit=$1
  started=$(date +%s%N)
  if inside "timeout -k 10 $limit $3"; then verdict=passed; else verdict=failed; fi
  took=$((($(date +%s%N) - started) / 1000000))
  echo "test-fresh: $verdict: $2 ($took ms, limit $limit s)"
  if [ $verdict = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

close() {
  echo
  echo "$passed passed, $failed failed, 0 skipped"
  [ "$failed" -eq 0 ]
  exit
}

if [ $# -gt 0 ]; then
  for target in "$@"; do step 5400 "make $target" "make $target"; done
  close
fi

step 600 'make up on a machine with nothing installed' 'make up DETACH=1'
step 30 'the volume is mounted and takes a file' \
  "sh -c 'mountpoint -q .nabu/mnt/demo && head -c 8388608 /dev/urandom >.nabu/mnt/demo/a && sync && sha256sum .nabu/mnt/demo/a >.nabu/sum'"
step 60 'make down' 'make down'
# Loop devices are the whole machine's: only those over files of this tree count. A pattern in brackets does not find itself.
left() {
  inside "grep -E 'nabu|fuse' /proc/mounts | grep -v fusectl; losetup -a 2>/dev/null | grep -F '($folder/'; grep -lsE '[c]li/main.ts|[n]abu-keeper' /proc/[0-9]*/cmdline"
}
if left; then
  echo 'test-fresh: failed: nothing is left after make down'
  failed=$((failed + 1))
else
  echo 'test-fresh: passed: nothing is left after make down'
  passed=$((passed + 1))
fi
step 300 'set-up for tests' 'make setup-test'
step 5 'set-up that has nothing to do' 'make setup setup-test'
step 15 'make up again' 'make up DETACH=1'
step 30 'the file is there again, unchanged' 'sha256sum -c .nabu/sum'
step 60 'make down again' 'make down'
close
