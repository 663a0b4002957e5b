# Configure and build presets. Sourced by tools/dev.

# The presets name clang 19; where the distribution has an older one, that is used.
newest_clang() {
  local version
  for version in 19 18 17 16; do
    if command -v "clang++-$version" >/dev/null; then
      echo "$version"
      return
    fi
  done
  echo "tools/dev: no clang from 16 to 19 is installed" >&2
  return 1
}

configure() {
  local preset=$1
  shift
  local flags=()
  if [ "$preset" != gcc ]; then
    local version
    version=$(newest_clang)
    flags=(-DCMAKE_C_COMPILER="clang-$version" -DCMAKE_CXX_COMPILER="clang++-$version")
  fi
  cmake --preset "$preset" "${flags[@]}" "$@" --log-level=WARNING
}

# build PRESET [TARGET...]: those targets; without one, everything.
build() {
  local preset=$1
  shift
  echo "==> configuring and building ${*:-everything} of '$preset' with $(nproc) jobs"
  configure "$preset"
  # Ninja prints one line per step when its output is not a terminal: long builds show their progress either way.
  cmake --build "build/$preset" ${1:+--target "$@"}
}

verb_build() {
  ensure_packages
  build "${1:-release}"
}

verb_clean() {
  rm -rf build out
  echo "==> removed build folders"
  if [ "$(id -u)" -eq 0 ]; then
    tools/demo/run --sweep
  fi
}
