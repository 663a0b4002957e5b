# What a demo or a test may change on the machine, as text, to compare before and after. Sourced by demo_*_test.sh.

machine_state() {
  ip -o link | sed 's/ mtu.*//'
  ip rule
  ip -6 rule
  ip route show table all
  ip netns list
  sort /proc/mounts
  find /run -maxdepth 1 -name 'weft-demo-*'
  find "$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)" -maxdepth 1 -name 'weft-demo-*'
  pgrep -f weft-demo- | grep -vxF "$$" | xargs -r ps -o args= -p || true
  bpftool prog show 2>/dev/null | grep -o 'name mesh_[a-z0-9_]*' | sort | uniq -c || true
}

# Waits for the kernel to drop what it frees behind a grace period, at most five seconds.
expect_unchanged() {
  local before=$1 after= attempt
  for attempt in $(seq 50); do
    after=$(machine_state)
    [ "$before" = "$after" ] && return 0
    read -r -t 0.1 <> <(:) || true
  done
  echo "the machine is not as it was before:"
  diff <(echo "$before") <(echo "$after")
  return 1
}
