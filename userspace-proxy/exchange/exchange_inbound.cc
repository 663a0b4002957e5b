// Requests that come in to a pod: the steps of an Exchange that stand in place of its route.
#include "base/log.h"
#include "userspace-proxy/exchange/exchange.h"

namespace weft::proxy {

// What comes in to a pod has no route: it is for that pod, or not allowed.
Outcome Exchange::judge() {
  std::string plain_path;
  const auto verdict = client_.policy->judge(judged(request(), client_.client.ip, &plain_path));
  if (!verdict.allowed) {
    // A line a second is enough to find out which.
    if (context_.loop.now() >= context_.next_tunnel_line) {
      context_.next_tunnel_line = context_.loop.now() + kNsPerSecond;
      log::info("request_denied", {{"workload", client_.origin.workload_uid()},
                                   {"client", client_.client.to_string()},
                                   {"port", client_.dialled.port},
                                   {"policy", verdict.policy}});
    }
    return Outcome::kAccessDenied;
  }
  target_.aim_at_dialled(generation_, {client_.dialled, client_.origin.netns_cookie(), kNone, true, {}});
  return Outcome::kOk;
}

bool Exchange::forbidden() const {
  if (recorded_ || client_.policy == nullptr || downstream_.request_status() != HeadStatus::kComplete)
    return false;
  std::string plain_path;
  return !client_.policy->judge(judged(request(), client_.client.ip, &plain_path)).allowed;
}

}  // namespace weft::proxy
