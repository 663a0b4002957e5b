#!/usr/bin/env bash
# The demo with short steps: right shares, no failed request (its exit code), and the machine as before.
set -euo pipefail
bin_dir=$1
here=$(cd "$(dirname "$0")" && pwd)
source "$here/machine_state.sh"
if [ "$(id -u)" -ne 0 ]; then
  echo "*** SKIPPED, NOTHING WAS TESTED: not root ***"
  exit 77
fi
before=$(machine_state)
"$here/../../tools/demo/run" --fast --rate "${WEFT_DEMO_RATE:-1000}" --bin-dir "$bin_dir"
expect_unchanged "$before"
echo "ok: the demo ran and left nothing behind"
