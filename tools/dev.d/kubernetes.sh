# What has to do with Kubernetes: images, the test cluster, its tier of tests, the demo on it. Sourced by tools/dev.

# Longer than they take on a busy machine of two cores; then they are ended and have failed. Building has limits of its own (tools/go.sh).
IMAGE_TEST_SECONDS=300
CLUSTER_TEST_SECONDS=300
MESH_TEST_SECONDS=900
# What all of `tools/dev test` may take. The cluster comes last and gets what is left: building its programs takes long where no cache has them.
TEST_SECONDS=${WEFT_TEST_SECONDS:-5040}
TIER_TAKES=600
PROGRAMS_TAKE=900

seconds_left() { echo $((TEST_SECONDS - SECONDS)); }

verb_image() {
  case " $* " in *" --help "* | *" -h "*) exec tools/image/build --help ;; esac
  ensure_packages
  build release
  tools/image/build "$@"
}

# from_go WHAT COMMAND...: builds it when it is not in the cache. 77, loudly, where there is no Go or no module proxy to do so.
from_go() {
  local what=$1 said status=0
  shift
  said=$(mktemp)
  # Its progress is seen while it builds; why it did not is in the last line.
  "$@" 2>&1 >/dev/null | tee "$said" || status=$?
  local reason
  reason=$(tail -n 1 "$said")
  rm -f "$said"
  [ $status -eq 77 ] || [ $status -eq 124 ] || return $status
  skipped "$what" "$reason" "install golang-go and allow it https://proxy.golang.org, or another proxy in GOPROXY"
}

build_helm() {
  from_go "Helm, for the tests of the chart" tools/helm --build
}

# 77: too little is left of TEST_SECONDS for the tier, and for its programs where they have to be built.
cluster_in_time() {
  local takes=$TIER_TAKES left
  left=$(seconds_left)
  tests/kubernetes/programs/build.sh --have || takes=$((takes + PROGRAMS_TAKE))
  [ "$left" -ge "$takes" ] && return
  skipped "tier kubernetes" "$left s are left of $TEST_SECONDS, and it takes some $takes" \
    "build its programs before (tests/kubernetes/programs/build.sh), or give WEFT_TEST_SECONDS"
}

# prepare_cluster [SECONDS]: packages and programs of the test cluster, built within so long. 77: this machine cannot have it.
prepare_cluster() {
  local reason seconds_to_build=${1:-1500}
  reason=$(privileged_reason)
  [ -z "$reason" ] || skipped "tier kubernetes" "$reason" "run it as root on a machine with cgroup2" || return
  ensure_packages tests/kubernetes/packages.txt
  local status=0
  reason=$(tests/kubernetes/cluster check) || status=$?
  [ $status -ne 77 ] || skipped "tier kubernetes" "$reason" "docs/testing.md says what a machine of the cluster needs" || return
  [ $status -eq 0 ] || return $status
  from_go "tier kubernetes" tools/helm --build
  WEFT_BUILD_SECONDS=$seconds_to_build from_go "tier kubernetes" tests/kubernetes/programs/build.sh
}

# tier_test CLUSTER SECONDS COMMAND...: ends it when it takes longer. Whatever happened, no cluster of this name is left: a test that was killed
# could not see to that itself. The first failure is noted for the end of the output.
tier_test() {
  local name=$1 seconds=$2 status=0 said
  shift 2
  local most=$(($(seconds_left) + TIER_TAKES))
  [ "$seconds" -le "$most" ] || seconds=$most
  said=$(mktemp)
  timeout --foreground -k 200 "$seconds" "$@" 2>&1 | tee "$said" || status=$?
  tests/kubernetes/cluster --name "$name" down || status=1
  case $status in
    0 | 77) ;;
    124 | 137) printf 'FAILED: ended after its limit of %d s: %s\n' "$seconds" "$*" | tee -a "$said" ;;
    *) printf 'FAILED (%d): %s\n' "$status" "$*" ;;
  esac
  if [ $status -ne 0 ] && [ $status -ne 77 ]; then
    { printf '%s\n' "$1" && grep -E -A 3 '^(FAILED|FAIL:|ERROR:|left:|gone:|Traceback)' "$said" | head -n 20 | cut -c1-240; } >>"$FAILURES_FILE"
  fi
  rm -f "$said"
  return $status
}

kubernetes_tests() {
  cluster_in_time
  prepare_cluster $(($(seconds_left) - TIER_TAKES))
  timeout 120 tests/kubernetes/parts_test.py
  tier_test weft-k8s-image "$IMAGE_TEST_SECONDS" tests/kubernetes/image_test.py --bin-dir build/release/bin
  tier_test weft-k8s-crash "$CLUSTER_TEST_SECONDS" tests/kubernetes/cluster_test.py
  tier_test weft-k8s-test "$MESH_TEST_SECONDS" tests/kubernetes/mesh_test.py --bin-dir build/release/bin
}
