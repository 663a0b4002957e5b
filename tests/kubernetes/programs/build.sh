#!/usr/bin/env bash
# Builds the cluster's programs from Go modules and prints the folder they are in. The folder is below the user's cache and named
# after what was built, so that a checkout finds what another one built: 10 minutes on two cores the first time, then nothing.
# Exit code 77: there is no Go that can build them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

find_go() {
  local candidate version
  for candidate in go /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
    version=$("$candidate" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p') || continue
    # From 1.21 on the command fetches the toolchain that go.mod asks for by itself.
    if [ "${version:-0}" -ge 21 ]; then
      command -v "$candidate"
      return
    fi
  done
  echo "tests/kubernetes: Go 1.21 or newer is needed to build the test cluster; install golang-go, or put Go into /usr/local/go" >&2
  return 77
}

go=$(find_go)
key=$(cd "$here" && cat go.mod go.sum build.sh kube/main.go | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft/kubernetes
target=$cache/$key
if [ ! -e "$target/complete" ]; then
  version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$here/go.mod")
  minor=${version#v1.}
  base=k8s.io/component-base/version
  flags="-s -w -X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=${minor%.*}"
  mkdir -p "$target"
  # One builder at a time; another one finds it complete.
  exec 9>"$target/lock"
  flock 9
  if [ ! -e "$target/complete" ]; then
    echo "==> building Kubernetes $version for the test cluster into $target (minutes, once)" >&2
    cd "$here"
    # Nobody waits for it alone: others compile meanwhile.
    renice -n 19 $$ >/dev/null
    export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath -mod=readonly"
    "$go" build -ldflags "$flags" -o "$target/kube" ./kube >&2
    for server in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
      ln -sf kube "$target/$server"
    done
    # A program of its own: it is started so often that the servers' initializers would count.
    "$go" build -ldflags "$flags" -o "$target/kubectl" k8s.io/kubernetes/cmd/kubectl >&2
    touch "$target/complete"
  fi
  flock -u 9
fi
# Other versions that nothing used for a month.
find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name "$key" -mtime +30 -exec rm -rf {} + >&2
touch "$target"
echo "$target"
