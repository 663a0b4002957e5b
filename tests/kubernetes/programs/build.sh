#!/usr/bin/env bash
# Builds the cluster's programs from Go modules and prints the folder they are in. The folder is below the user's cache and named
# after what was built, so that a checkout finds what another one built: 10 minutes on two cores the first time, then nothing.
# Exit code 77: there is no Go or no module proxy to build them with; 124: not within WEFT_BUILD_SECONDS. --have: says by its exit code whether they
# are there, and builds nothing.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=/dev/null
source "$here/../../../tools/go.sh"
SECONDS_TO_BUILD=${WEFT_BUILD_SECONDS:-1500}

version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$here/go.mod")
minor=${version#v1.}
base=k8s.io/component-base/version
flags="-s -w -X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=${minor%.*}"
key=$( (cat "$here/go.mod" "$here/go.sum" "$here/kube/main.go" && echo "$flags") | sha256sum | cut -c1-12)
cache=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/kubernetes
target=$cache/$key
if [ "${1:-}" = --have ]; then
  [ -e "$target/complete" ]
  exit
fi
if [ ! -e "$target/complete" ]; then
  found=$(find_go "$(sed -n 's/^go //p' "$here/go.mod")")
  read -r go toolchain <<<"$found"
  mkdir -p "$target"
  # One builder at a time; another one finds it complete. As long as that one may take, and no longer.
  exec 9>"$target/lock"
  flock -w $((SECONDS_TO_FETCH_ONE + SECONDS_TO_FETCH + SECONDS_TO_BUILD)) 9 || { echo "FAILED: another build holds $target/lock" >&2; exit 1; }
  if [ ! -e "$target/complete" ]; then
    echo "==> building Kubernetes $version for the test cluster into $target (minutes, once)" >&2
    cd "$here"
    export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath -mod=readonly" GOTOOLCHAIN=$toolchain
    kubectl=k8s.io/kubernetes/cmd/kubectl
    fetch_modules "$SECONDS_TO_FETCH_ONE" "$go" mod download k8s.io/kubernetes
    fetch_modules "$SECONDS_TO_FETCH" "$go" list -deps ./kube $kubectl
    # kubectl is a program of its own: it is started so often that the servers' initializers would count.
    build_within "$SECONDS_TO_BUILD" "$go" build -ldflags "$flags" -o "$target/" ./kube $kubectl >&2
    for server in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
      ln -sf kube "$target/$server"
    done
    touch "$target/complete"
  fi
  flock -u 9
fi
# Other versions that nothing used for a month.
find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name "$key" -mtime +30 -exec rm -rf {} + >&2
touch "$target"
echo "$target"
