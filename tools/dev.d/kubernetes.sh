# What has to do with Kubernetes: images, the test cluster, its tier of tests, the demo on it. Sourced by tools/dev.

verb_image() {
  case " $* " in *" --help "* | *" -h "*) exec tools/image/build --help ;; esac
  ensure_packages
  build release
  tools/image/build "$@"
}

# Packages and programs of the test cluster. 77: this machine cannot have it.
prepare_cluster() {
  local reason
  reason=$(privileged_reason)
  if [ -n "$reason" ]; then
    printf '*** SKIPPED, NOTHING WAS TESTED: Kubernetes: %s\n' "$reason"
    return 77
  fi
  ensure_packages tests/kubernetes/packages.txt
  tools/helm --build >/dev/null
  tests/kubernetes/programs/build.sh >/dev/null
}

kubernetes_tests() {
  prepare_cluster
  tests/kubernetes/image_test.py --bin-dir build/release/bin
  tests/kubernetes/cluster_test.py
  tests/kubernetes/mesh_test.py --bin-dir build/release/bin
}
