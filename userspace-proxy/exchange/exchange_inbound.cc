// Requests that come in to a pod: the steps of an Exchange that stand in place of its route.
#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "base/strings.h"
#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/exchange/shadow_report.h"

namespace weft::proxy {

// False: the request has a token that is not good. Else the head is what the application gets. By the rules
// and keys of now: the exchange may have waited for its head since long before.
bool Exchange::authenticate() {
  authentication_ = authentication_of(client_.origin, client_.dialled.port, context_.current->snapshot());
  return authentication_ == nullptr ||
         authentication_->authenticate(&request(), ::time(nullptr), &context_.tokens, &token_);
}

// An application may read a trailer as it does a header.
bool Exchange::trailers_pass(const Pump& pump, std::span<const Header> trailers) const {
  if (&pump != &request_pump_ || (authentication_ == nullptr && check_ == nullptr)) return true;
  return std::none_of(trailers.begin(), trailers.end(), [this](const Header& trailer) {
    return (authentication_ != nullptr && authentication_->gives(trailer.name)) ||
           (check_ != nullptr && check_->edits_request(trailer.name));
  });
}

// What follows in a tunnel cannot be read. A WebSocket is the resource that its request names; behind CONNECT
// and other protocols may be requests that nobody judged.
bool Exchange::hides_requests() const {
  if (!tunnel_asked_) return false;
  const std::string_view upgrade = request().protocol.empty()
                                       ? request().find("upgrade").value_or(std::string_view())
                                       : std::string_view(request().protocol);
  return is_connect() || !equals_ignore_case(upgrade, "websocket");
}

ConnectionPolicy::Verdict Exchange::verdict() const {
  const ConnectionPolicy& policy = *client_.policy;
  if (hides_requests()) {
    if (policy.decision() == ConnectionPolicy::Decision::kDepends) return {false, policy.denied_by()};
    // Of now: a tunnel that is open ends when tokens begin to count.
    if (authentication_of(client_.origin, client_.dialled.port, context_.current->snapshot()) != nullptr)
      return {false, kAuthentication};
  }
  return policy.judge(judged(request(), client_.client.ip, &context_.path_readings, token_.get()));
}

// A line a second is enough to find out which.
void Exchange::log_denied(std::string_view policy) {
  if (context_.loop.now() < context_.next_tunnel_line) return;
  context_.next_tunnel_line = context_.loop.now() + kNsPerSecond;
  log::info("request_denied", {{"workload", client_.origin.workload_uid()},
                               {"client", client_.client.to_string()},
                               {"port", client_.dialled.port},
                               {"policy", policy}});
}

// What comes in to a pod has no route: it is for that pod, or not allowed.
Outcome Exchange::judge() {
  if (!authenticate()) return Outcome::kBadToken;
  const ConnectionPolicy::Verdict said = verdict();
  if (!said.allowed) {
    log_denied(said.policy);
    return Outcome::kAccessDenied;
  }
  if (const ShadowPolicy* shadow = client_.policy->shadow()) {
    report_shadow(context_, client_.origin, client_.client, client_.dialled.port,
                  shadow->judge(judged(request(), client_.client.ip, &context_.path_readings, token_.get())));
  }
  target_.aim_at_dialled(generation_, {client_.dialled, client_.origin.netns_cookie(), kNone, true, {}});
  judged_ = true;
  return Outcome::kOk;
}

bool Exchange::forbidden() const {
  // Before, while a provider is asked, nothing was let in, and what the provider says is not there to be
  // judged by.
  if (recorded_ || !judged_) return false;
  if (client_.access != nullptr) return forbidden_at_gateway();
  return client_.policy != nullptr && !verdict().allowed;
}

}  // namespace weft::proxy
