#!/usr/bin/env bash
# Ctrl-C at any point of the demo leaves the machine as before: once per line of its story that is waited for here.
set -euo pipefail
bin_dir=$1
here=$(cd "$(dirname "$0")" && pwd)
source "$here/machine_state.sh"
if [ "$(id -u)" -ne 0 ]; then
  echo "*** SKIPPED, NOTHING WAS TESTED: not root ***"
  exit 77
fi
before=$(machine_state)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for point in "two nodes" "weft-agent and weft-proxy" "answers in the client pod" "shift to 25" "rollback"; do
  : >"$log"
  "$here/../../tools/demo/run" --fast --rate 500 --bin-dir "$bin_dir" >"$log" 2>&1 &
  demo=$!
  # tail ends with the demo, so a demo that fails early does not hang the test.
  grep -q -m1 "$point" <(tail -n +1 -f --pid=$demo "$log") || { cat "$log"; echo "never came to: $point"; exit 1; }
  kill -INT $demo
  code=0
  wait $demo || code=$?
  if [ $code -ne 130 ]; then
    cat "$log"
    echo "interrupted at '$point' the demo ended with $code, not 130"
    exit 1
  fi
  expect_unchanged "$before" || { cat "$log"; exit 1; }
  echo "ok: interrupted at '$point', nothing left"
done
