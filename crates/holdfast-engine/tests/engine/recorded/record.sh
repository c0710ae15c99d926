#!/usr/bin/env bash
# Records what a restic says, for recorded.rs:   record.sh /path/to/restic
# Each case becomes <version>/<case>.{stdout,stderr}.jsonl and <case>.exit beside this script.
set -euo pipefail
restic=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
version=$("$restic" version | awk '{print $2; exit}')
out=$here/$version
work=/tmp/holdfast-recording
rm -rf "$work" && mkdir -p "$work/source" "$out"
trap 'rm -rf "$work"' EXIT
echo right >"$work/right" && echo wrong >"$work/wrong"
for n in 1 2 3; do head -c 3000000 /dev/urandom >"$work/source/file$n"; done

environment=(env -i PATH="$PATH" HOME="$work" RESTIC_REPOSITORY="$work/repository"
  RESTIC_CACHE_DIR="$work/cache" RESTIC_PROGRESS_FPS=60)
call() { # password-file arguments...
  local password=$1
  shift
  "${environment[@]}" RESTIC_PASSWORD_FILE="$work/$password" "$restic" "$@"
}
record() { # case password-file arguments...
  local case=$1 code=0
  shift
  call "$@" >"$out/$case.stdout.jsonl" 2>"$out/$case.stderr.jsonl" </dev/null || code=$?
  echo "$code" >"$out/$case.exit"
  # The machine's name is nobody's business.
  sed -i "s/on $(hostname) by/on host.example by/" "$out/$case.stderr.jsonl"
}

backup=(backup --json --host=host --tag=tag --)
record no_repository right "${backup[@]}" "$work/source"
call right init >/dev/null
record init_again right init
record ok right "${backup[@]}" "$work/source"
record source_missing right "${backup[@]}" "$work/source" "$work/missing"
record partial right "${backup[@]}" "$work/source" /proc/self/mem
record wrong_password wrong "${backup[@]}" "$work/source"
record snapshots right snapshots --json --no-lock --host=host

# A check that may read one KiB per second holds its exclusive lock long enough. It is started
# without a function, so that $! is restic itself, and killed, as its limiter delays its own end.
"${environment[@]}" RESTIC_PASSWORD_FILE="$work/right" "$restic" --limit-download 1 check --read-data \
  >"$work/check.log" 2>&1 &
holder=$!
trap 'kill -KILL "$holder" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
until [ -n "$(ls "$work/repository/locks")" ]; do sleep 0.05; done
record locked right "${backup[@]}" "$work/source"
