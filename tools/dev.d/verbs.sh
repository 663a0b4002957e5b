# The smaller verbs: demo, lint, bench, soak, fuzz. Sourced by tools/dev.

verb_demo() {
  local argument demo_on_kubernetes=
  for argument in "$@"; do
    # Answered before anything is installed or built.
    case $argument in
      -h | --help) exec tools/demo/run --help ;;
      --kubernetes) demo_on_kubernetes=1 ;;
    esac
  done
  ensure_packages
  # No test among them: they are half of a build.
  build release weft weft-agent weft-proxy weft-bench-load ${demo_on_kubernetes:+weft-control weft-cni}
  if [ -n "$demo_on_kubernetes" ]; then
    prepare_cluster
    exec tools/demo/kubernetes.py --bin-dir "$ROOT/build/release/bin" "${@/--kubernetes/}"
  fi
  echo "==> starting the demo"
  if [ "$(id -u)" -eq 0 ]; then
    exec tools/demo/run --bin-dir "$ROOT/build/release/bin" "$@"
  fi
  exec sudo tools/demo/run --bin-dir "$ROOT/build/release/bin" "$@"
}

verb_lint() {
  ensure_packages
  local sources version
  case ${1:-} in
    --fix)
      mapfile -t sources < <(git ls-files -co --exclude-standard '*.h' '*.cc' '*.c' | grep -v 'vmlinux.h$')
      "clang-format-$(newest_clang)" -i "${sources[@]}"
      echo "==> formatted ${#sources[@]} files"
      ;;
    --tidy)
      version=$(newest_clang)
      build release
      mapfile -t sources < <(git ls-files '*.cc' | grep -v '^tests/')
      printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 4 "clang-tidy-$version" -p build/release --quiet
      ;;
    '') ;;
    *)
      echo "tools/dev lint: unknown '$1'; --fix or --tidy" >&2
      exit 64
      ;;
  esac
  tests/lint/run
}

verb_bench() {
  local name=${1:-}
  if [ -z "$name" ] || [ ! -x "tools/bench/$name" ]; then
    echo "benchmarks:"
    find tools/bench -maxdepth 1 -type f -perm -u+x -printf '  %f\n' | sort
    echo "the load generator by itself: build/release/bin/weft-bench-load --help"
    [ -z "$name" ] && return 0
    echo "tools/dev bench: there is no benchmark '$name'" >&2
    exit 64
  fi
  shift
  if [ -f "tools/bench/$name.packages" ]; then
    ensure_packages "tools/bench/$name.packages"
  else
    ensure_packages
  fi
  build release
  exec "tools/bench/$name" --bin-dir "$ROOT/build/release/bin" "$@"
}

verb_soak() {
  case " $* " in *" --help "* | *" -h "*) exec tests/soak/run --help ;; esac
  ensure_packages
  build release
  build asan
  exec tests/soak/run --bin-dir "$ROOT/build/release/bin" --asan-bin-dir "$ROOT/build/asan/bin" "$@"
}

# Executables of the build that are called NAME_fuzz.
fuzz_targets() {
  ninja -C build/asan -t targets all | sed -n 's/^\([a-z0-9_]*_fuzz\): phony$/\1/p'
}

# Every fuzz target for so many seconds, each with its kept corpus tests/fuzz/corpus/NAME where there is one.
run_fuzz() {
  local seconds=$1 target name corpus found=0
  # shellcheck disable=SC2046
  cmake --build build/asan --target $(fuzz_targets)
  for target in build/asan/bin/*_fuzz; do
    [ -x "$target" ] || continue
    found=1
    name=$(basename "$target")
    # New finds go to the first folder, outside the source tree; the kept corpus is read only.
    mkdir -p "build/asan/corpus/$name"
    corpus=tests/fuzz/corpus/${name%_fuzz}
    echo "==> fuzzing $name for $seconds s"
    "$target" -max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=4096 "build/asan/corpus/$name" \
      $([ -d "$corpus" ] && echo "$corpus") 2>&1 | tail -n 12
  done
  [ $found -eq 1 ]
}

verb_fuzz() {
  ensure_packages
  configure asan
  run_fuzz "${1:-60}"
}
