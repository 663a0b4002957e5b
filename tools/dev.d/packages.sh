# Packages: which are missing, and installing them without starting any service. Sourced by tools/dev.

# As root, or through sudo, or not at all.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "tools/dev: root is needed for: $*" >&2
    echo "tools/dev: run it as root, or install sudo" >&2
    return 1
  fi
}

# command:NAME stands for a program that any package may have brought. Paths of root, which is who runs it.
package_installed() {
  case $1 in
    command:*)
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin command -v "${1#command:}" >/dev/null
      return
      ;;
  esac
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

package_known() {
  case $1 in command:*) return 1 ;; esac
  [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \(.*\)/\1/p' | grep -v '(none)')" ]
}

# Lines of the lists of which no alternative is installed.
missing_packages() {
  local line name found
  cat "$@" | while read -r line; do
    case $line in '' | '#'*) continue ;; esac
    found=
    for name in ${line//|/ }; do
      if package_installed "$name"; then
        found=1
        break
      fi
    done
    [ -n "$found" ] || echo "$line"
  done
}

# Packages of servers start them on installation. policy-rc.d (invoke-rc.d(8)) forbids it for as long as the command runs.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d kept= status=0
  if as_root test -e "$policy"; then
    kept=$policy.weft-kept
    as_root mv "$policy" "$kept"
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
  # An interrupt must not leave the machine unable to start services.
  trap 'restore_policy "'"$kept"'"; exit 130' INT TERM
  "$@" || status=$?
  trap - INT TERM
  restore_policy "$kept"
  return $status
}

restore_policy() {
  as_root rm -f /usr/sbin/policy-rc.d
  if [ -n "$1" ]; then as_root mv "$1" /usr/sbin/policy-rc.d; fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# ensure_packages [LIST...]: tools/packages.txt and what else is named.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "tools/dev: not a Debian or Ubuntu; install what tools/packages.txt lists by hand" >&2
    return 0
  fi
  local missing
  missing=$(missing_packages tools/packages.txt "$@")
  [ -n "$missing" ] || return 0
  echo "==> installing packages: $(echo $missing)"
  as_root apt-get update -q
  local line name chosen names=()
  while read -r line; do
    chosen=
    for name in ${line//|/ }; do
      if package_known "$name"; then
        chosen=$name
        break
      fi
    done
    if [ -z "$chosen" ]; then
      echo "tools/dev: none of '$line' is in this distribution's package lists; Debian 12 and Ubuntu 24.04 have them" >&2
      return 1
    fi
    names+=("$chosen")
  done <<<"$missing"
  without_starting_services apt_install "${names[@]}"
}
