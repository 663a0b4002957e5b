# Finding a Go and fetching modules, for tools/helm and tests/kubernetes/programs/build.sh. Sourced by them.

# Where the Go command keeps what it fetched and compiled.
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
SECONDS_TO_FETCH=600
# One file of some megabytes, where a proxy that never answers must show soon: a toolchain, or the module that is built.
SECONDS_TO_FETCH_ONE=150
GO_PLACES=(go /usr/local/go/bin/go /usr/lib/go-1.*/bin/go)

# find_go MINIMUM: prints the path of a Go command of this version or newer, such as 1.26.0, and the GOTOOLCHAIN to run it with: `local`, or
# the name of a toolchain that an older Go has fetched from the module proxy. 77: there is none, and why is said on stderr.
find_go() {
  local minimum=$1 candidate version older= words
  for candidate in "${GO_PLACES[@]}"; do
    candidate=$(command -v "$candidate") || continue
    version=$(GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9.]*\).*/\1/p') || continue
    [ -n "$version" ] || continue
    if not_older "$version" "$minimum"; then
      echo "$candidate local"
      return
    fi
    # From 1.21 on the command fetches other toolchains by itself.
    if [ -z "$older" ] && not_older "$version" 1.21; then older=$candidate; fi
  done
  if [ -z "$older" ]; then
    echo "no Go $minimum or newer, and none from 1.21 on that could fetch it, in PATH, /usr/local/go or /usr/lib/go-1.*; next: install golang-go, or put Go into /usr/local/go" >&2
    return 77
  fi
  if ! words=$(cd / && GOTOOLCHAIN=go$minimum timeout "$SECONDS_TO_FETCH_ONE" "$older" version 2>&1); then
    echo "$older is older than $minimum and cannot fetch that: $(tail -n 1 <<<"$words")" >&2
    return 77
  fi
  echo "$older go$minimum"
}

# not_older VERSION MINIMUM
not_older() {
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# fetch_modules SECONDS COMMAND...: runs a Go command that does nothing but fetch. 77: no module proxy gives them. What was fetched is kept, so asking
# again is cheap. Where a module is not what go.sum says, that is no reason to test nothing: 1.
fetch_modules() {
  local seconds=$1 end=$((SECONDS + $1)) words= attempt
  shift
  for attempt in 1 2 3; do
    [ $SECONDS -lt $end ] || break
    if words=$(timeout $((end - SECONDS)) "$@" 2>&1 >/dev/null); then return; fi
    case $words in
      *'SECURITY ERROR'* | *'go.sum'* | *'go mod tidy'* | *'updates to go.mod'*)
        echo "$words" >&2
        return 1
        ;;
    esac
  done
  echo "Go modules cannot be fetched within $seconds s: $(tail -n 1 <<<"${words:-no answer}")" >&2
  return 77
}

# build_within SECONDS COMMAND...: 124 when it took longer, and says so.
build_within() {
  local seconds=$1 status=0
  shift
  timeout --foreground -k 20 "$seconds" "$@" || status=$?
  [ $status -ne 124 ] || echo "FAILED: not built within $seconds s: $*; what was compiled is kept, another attempt goes on from there" >&2
  return $status
}
