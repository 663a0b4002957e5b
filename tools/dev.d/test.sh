# `tools/dev test`: every check of the project as steps with times and a closing table. Sourced by tools/dev.

STEP_NAMES=()
STEP_RESULTS=()
STEP_SECONDS=()
# What the failed tests said, for the end of the output: it is far up by then.
FAILURES_FILE=

# step NAME COMMAND...: runs it, remembers how it ended and how long it took. Later steps run even when one fails.
step() {
  local name=$1 start=$SECONDS result=ok
  shift
  printf '\n==== %s ====\n' "$name"
  # A subshell with its own -e: in `if`, -e would be off inside the functions.
  set +e
  (
    set -e
    "$@"
  )
  local status=$?
  set -e
  [ $status -eq 0 ] || result="FAILED ($status)"
  [ $status -eq 77 ] && result="SKIPPED"
  STEP_NAMES+=("$name")
  STEP_RESULTS+=("$result")
  STEP_SECONDS+=($((SECONDS - start)))
  printf '==== %s: %s after %d s ====\n' "$name" "$result" $((SECONDS - start))
}

privileged_reason() {
  if [ "$(id -u)" -ne 0 ]; then
    echo "not root"
  elif ! grep -q ' cgroup2 ' /proc/mounts; then
    echo "no cgroup2 mounted"
  fi
}

run_ctest() {
  local preset=$1 labels=$2 status=0
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" -L "$labels" || status=$?
  [ $status -eq 0 ] || note_failures "$preset" >>"$FAILURES_FILE"
  return $status
}

# note_failures PRESET: of the last run of ctest, each failed test with its first failed expectations.
note_failures() {
  awk -v preset="$1" '
    / Testing: / { name = $3; kept = 0; text = ""; left = 0 }
    /: Failure$/ { if (kept++ < 3) left = 8 }
    left > 0 { text = text "  " substr($0, 1, 240) "\n"; left-- }
    /^\[  FAILED  \].*ms\)$/ { text = text "  " $0 "\n" }
    /^Test (Failed|timeout)/ || /Exception/ { printf "%s (%s): %s\n%s", name, preset, $0, text; text = "" }
  ' "build/$1/Testing/Temporary/LastTest.log"
}

# skipped WHAT REASON NEXT: says loudly that nothing was tested. Always 77, the exit code for that.
skipped() {
  printf '\n****************************************************************\n'
  printf '*** SKIPPED, NOTHING WAS TESTED: %s: %s\n' "$1" "$2"
  printf '*** %s\n' "$3"
  printf '****************************************************************\n'
  return 77
}

privileged_ctest() {
  local reason
  reason=$(privileged_reason)
  if [ -n "$reason" ]; then
    skipped "tier $2" "$reason" "run tools/dev test as root on a machine with cgroup2" || return
  fi
  run_ctest "$@"
}

# Once; what reads the alert rules as Prometheus does. 77: it cannot be had here, and they are not checked.
fetch_promtool() {
  local status=0
  tools/promtool --fetch || status=$?
  [ $status -ne 77 ] || skipped "promtool, for the tests of alert rules" "there is no promtool" "see above; tools/promtool --fetch" || return
  return $status
}

# Once; what tests of interoperation need. 77: it cannot be had here, and they are skipped.
fetch_envoy() {
  local status=0
  tools/envoy --fetch || status=$?
  [ $status -ne 77 ] || skipped "interoperation with Envoy" "there is no Envoy" "see above; tools/envoy --fetch" || return
  return $status
}

# gcc reads every file but the tests and says what it thinks of it; the objects would be thrown away.
read_with_gcc() {
  local left status=0
  configure gcc -DWEFT_PRECOMPILE=OFF -DCMAKE_CXX_FLAGS_RELEASE="-O0 -DNDEBUG"
  cmake --build build/gcc --target weft_generated
  left=$(seconds_left)
  [ "$left" -gt 1 ] || left=1
  timeout --foreground "$left" tools/dev.d/check_sources.py build/gcc || status=$?
  [ $status -ne 124 ] || skipped "sources that gcc did not come to" "the $TEST_SECONDS s are over" "tools/dev test goes on where it was" || return
  return $status
}

# with_seconds TAKES WHAT COMMAND...: 77, loudly, when less than TAKES seconds are left of TEST_SECONDS (kubernetes.sh). What would be
# interrupted half-way says less than what was never begun, and takes every later step and the closing table with it.
with_seconds() {
  local takes=$1 what=$2 left
  left=$(seconds_left)
  shift 2
  if [ "$left" -lt "$takes" ]; then
    skipped "$what" "$left s are left of $TEST_SECONDS, and it takes some $takes" "give WEFT_TEST_SECONDS" || return
  fi
  "$@"
}

# How long the first build took says how long the other takes on this machine, more or less filled as its cache is.
build_sanitized() {
  with_seconds "$RELEASE_BUILD_TOOK" "the sanitized build, its tests and the fuzz targets" build asan
}

# after_sanitized TAKES WHAT COMMAND...: as with_seconds, and never without the build.
after_sanitized() {
  if [ ! -x build/asan/bin/weft ]; then
    skipped "$2" "there is no sanitized build" "see the step that builds it" || return
  fi
  with_seconds "$@"
}

# The sanitized build has the targets.
fuzz_smoke() {
  if [ -z "$(fuzz_targets)" ]; then
    echo "*** SKIPPED, NOTHING WAS TESTED: there is no fuzz target ***"
    return 77
  fi
  run_fuzz "${WEFT_FUZZ_SECONDS:-5}"
}

summary() {
  local i failed=0 total=0
  if [ -s "$FAILURES_FILE" ]; then
    printf '\nWhat failed first:\n'
    head -n 60 "$FAILURES_FILE"
  fi
  printf '\n%-34s %-14s %8s\n' STEP RESULT SECONDS
  for i in "${!STEP_NAMES[@]}"; do
    printf '%-34s %-14s %8d\n' "${STEP_NAMES[$i]}" "${STEP_RESULTS[$i]}" "${STEP_SECONDS[$i]}"
    total=$((total + STEP_SECONDS[i]))
    case ${STEP_RESULTS[$i]} in FAILED*) failed=1 ;; esac
  done
  printf '%-34s %-14s %8d\n' total "$([ $failed -eq 0 ] && echo ok || echo FAILED)" "$total"
  for i in "${!STEP_NAMES[@]}"; do
    if [ "${STEP_RESULTS[$i]}" = SKIPPED ]; then
      printf '*** SKIPPED, NOT PASSED: %s ***\n' "${STEP_NAMES[$i]}"
    fi
  done
  return $failed
}

# Linux 6.18 with automatic task groups (one per session, sched(7)) was seen to give the group of a busy test both processors for
# a minute and more while kworkers and the RCU thread waited ("workqueue lockup" in dmesg), so that nothing on the machine went on.
# Without such groups it did not happen. Off for as long as the tests run.
TASK_GROUPS=/proc/sys/kernel/sched_autogroup_enabled
without_task_groups() {
  [ "$(cat "$TASK_GROUPS" 2>/dev/null)" = 1 ] && [ -w "$TASK_GROUPS" ] || return 0
  trap 'rm -f "$FAILURES_FILE"; echo 1 >"$TASK_GROUPS"' EXIT
  echo 0 >"$TASK_GROUPS"
}

verb_test() {
  FAILURES_FILE=$(mktemp)
  trap 'rm -f "$FAILURES_FILE"' EXIT
  without_task_groups
  step "packages" ensure_packages
  step "lint" tests/lint/run
  step "build release" build release
  RELEASE_BUILD_TOOK=${STEP_SECONDS[-1]}
  step "test of the lint" run_ctest release '^lint$'
  step "Helm, for the tests of the chart" build_helm
  step "promtool, for alert rules" fetch_promtool
  step "unit tests" run_ctest release '^unit$'
  step "kernel program tests" privileged_ctest release '^bpf$'
  step "Envoy, for the tests of interoperation" fetch_envoy
  step "integration tests" privileged_ctest release '^integration$'
  step "kernel programs on Linux 6.1" tests/kernel/run --quick
  step "build ASan, UBSan and fuzz targets" build_sanitized
  step "unit tests, sanitized" after_sanitized 300 "unit tests, sanitized" run_ctest asan '^unit$'
  step "kernel program tests, sanitized" after_sanitized 300 "kernel program tests, sanitized" privileged_ctest asan '^bpf$'
  step "fuzz smoke" after_sanitized 120 "fuzz smoke" fuzz_smoke
  step "Kubernetes" kubernetes_tests
  step "integration tests, sanitized" after_sanitized 1200 "integration tests, sanitized" privileged_ctest asan '^integration$'
  step "every program through gcc" with_seconds 60 "every program through gcc" read_with_gcc
  summary
}
