# `tools/dev test`: every check of the project as steps with times and a closing table. Sourced by tools/dev.

STEP_NAMES=()
STEP_RESULTS=()
STEP_SECONDS=()

# run_step COMMAND...: the command in a subshell with its own -e (in `if`, -e would be off inside the functions).
run_step() {
  (
    set -e
    "$@"
  )
}

# record NAME STATUS SECONDS: one line of the closing table.
record() {
  local result=ok
  [ "$2" -eq 0 ] || result="FAILED ($2)"
  [ "$2" -eq 77 ] && result="SKIPPED"
  STEP_NAMES+=("$1")
  STEP_RESULTS+=("$result")
  STEP_SECONDS+=("$3")
  printf '==== %s: %s after %d s ====\n' "$1" "$result" "$3"
}

# step NAME COMMAND...: runs it, remembers how it ended and how long it took. Later steps run even when one fails.
step() {
  local name=$1 start=$SECONDS status
  shift
  printf '\n==== %s ====\n' "$name"
  set +e
  run_step "$@"
  status=$?
  set -e
  record "$name" $status $((SECONDS - start))
}

# begin_beside NAME COMMAND...: starts it beside the steps that follow, where it gets only the processor time that they leave: what
# reads and compiles would otherwise wait for tests that mostly wait themselves. One at a time; end_beside waits for it.
begin_beside() {
  BESIDE_NAME=$1
  BESIDE_START=$SECONDS
  BESIDE_LOG=$(mktemp)
  shift
  printf '\n==== %s: begun beside the next steps ====\n' "$BESIDE_NAME"
  (
    # SCHED_IDLE, sched(7); without the right to it, the usual share.
    chrt --idle --pid 0 "$BASHPID" 2>/dev/null || true
    run_step "$@"
  ) >"$BESIDE_LOG" 2>&1 &
  BESIDE_PID=$!
}

end_beside() {
  local status=0
  # Nothing else wants the processor now.
  local pid
  for pid in $(descendants "$BESIDE_PID"); do chrt --other --pid 0 "$pid" 2>/dev/null || true; done
  wait "$BESIDE_PID" || status=$?
  printf '\n==== %s (begun earlier) ====\n' "$BESIDE_NAME"
  cat "$BESIDE_LOG"
  rm -f "$BESIDE_LOG"
  record "$BESIDE_NAME" $status $((SECONDS - BESIDE_START))
}

# A process and what it started.
descendants() {
  local child
  echo "$1"
  for child in $(pgrep -P "$1"); do descendants "$child"; done
}

privileged_reason() {
  if [ "$(id -u)" -ne 0 ]; then
    echo "not root"
  elif ! grep -q ' cgroup2 ' /proc/mounts; then
    echo "no cgroup2 mounted"
  fi
}

run_ctest() {
  local preset=$1 labels=$2
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" -L "$labels"
}

privileged_ctest() {
  local reason
  reason=$(privileged_reason)
  if [ -n "$reason" ]; then
    printf '\n****************************************************************\n'
    printf '*** SKIPPED, NOTHING WAS TESTED: tier %s: %s\n' "$2" "$reason"
    printf '*** run tools/dev test as root on a machine with cgroup2\n'
    printf '****************************************************************\n'
    return 77
  fi
  run_ctest "$@"
}

# gcc reads every file and says what it thinks of it; the objects would be thrown away.
read_with_gcc() {
  configure gcc -DWEFT_PRECOMPILE=OFF
  cmake --build build/gcc --target weft_generated
  tools/dev.d/check_sources.py build/gcc
}

fuzz_smoke() {
  if [ -z "$(fuzz_targets)" ]; then
    echo "*** SKIPPED, NOTHING WAS TESTED: there is no fuzz target ***"
    return 77
  fi
  run_fuzz "${WEFT_FUZZ_SECONDS:-5}"
}

summary() {
  local i failed=0
  printf '\n%-34s %-14s %8s\n' STEP RESULT SECONDS
  for i in "${!STEP_NAMES[@]}"; do
    printf '%-34s %-14s %8d\n' "${STEP_NAMES[$i]}" "${STEP_RESULTS[$i]}" "${STEP_SECONDS[$i]}"
    case ${STEP_RESULTS[$i]} in FAILED*) failed=1 ;; esac
  done
  printf '%-34s %-14s %8d\n' total "$([ $failed -eq 0 ] && echo ok || echo FAILED)" "$SECONDS"
  for i in "${!STEP_NAMES[@]}"; do
    if [ "${STEP_RESULTS[$i]}" = SKIPPED ]; then
      printf '*** SKIPPED, NOT PASSED: %s ***\n' "${STEP_NAMES[$i]}"
    fi
  done
  return $failed
}

verb_test() {
  step "packages" ensure_packages
  step "lint" tests/lint/run
  step "build release" build release
  begin_beside "build ASan, UBSan and fuzz targets" build asan
  step "test of the lint" run_ctest release '^lint$'
  step "unit tests" run_ctest release '^unit$'
  step "kernel program tests" privileged_ctest release '^bpf$'
  step "integration tests" privileged_ctest release '^integration$'
  step "kernel programs on Linux 6.1" tests/kernel/run --quick
  end_beside
  begin_beside "every source through gcc" read_with_gcc
  step "unit tests, sanitized" run_ctest asan '^unit$'
  step "kernel program tests, sanitized" privileged_ctest asan '^bpf$'
  step "integration tests, sanitized" privileged_ctest asan '^integration$'
  step "fuzz smoke" fuzz_smoke
  end_beside
  summary
}
