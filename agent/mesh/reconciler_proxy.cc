// What the reconciler does with news of the proxy; see reconciler.h.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/mesh/reconciler.h"
#include "base/log.h"

namespace weft::agent {

void Reconciler::proxy_ready(uint64_t connection, uint32_t pid, ProxyAbilities abilities,
                             std::vector<HeldNamespace> held) {
  // The kernel must leave the proxy's own sockets alone before the proxy gets the first listener.
  post([this, connection, pid, abilities,
        shared = std::make_shared<std::vector<HeldNamespace>>(std::move(held))] {
    const absl::Status status = parts_.dataplane.set_proxy(pid);
    if (!status.ok()) {
      log::error("proxy_not_set", {{"error", status.message()}});
      kernel_problem_ = std::string(status.message());
    }
    watch_proxy(pid);
    gateways_.take_held(shared.get());
    if (pods_.set_proxy_judges(abilities.judges_inbound)) policy_changed_ = true;
    // Before one that cannot judge is told anything, the kernel hands it nothing to judge.
    if (!abilities.judges_inbound) enforce_policies();
    pods_.proxy_ready(connection, std::move(*shared));
    enforce_policies();
  });
}

// pidfd_open(2): told apart from a later process with the same number, and readable when it has ended.
void Reconciler::watch_proxy(uint32_t pid) {
  std::erase_if(proxies_, [pid](const auto& proxy) { return proxy.first == pid; });
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!pidfd.valid()) return;
  proxies_.emplace_back(pid, std::move(pidfd));
}

void Reconciler::forget_dead_proxies() {
  std::erase_if(proxies_, [this](const auto& proxy) {
    pollfd event{proxy.second.get(), POLLIN, 0};
    if (::poll(&event, 1, 0) != 1) return false;
    parts_.dataplane.forget_proxy(proxy.first);
    return true;
  });
}

void Reconciler::proxy_gone() {
  // Only the connection is known to be gone: a proxy that drains must not be captured by its successor.
  post([this] { pods_.proxy_gone(); });
}

void Reconciler::beat() {
  post([this] {
    const absl::Status status = parts_.dataplane.beat_proxy();
    if (!status.ok()) log::warn("beat_failed", {{"error", status.message()}});
  });
}

}  // namespace weft::agent
