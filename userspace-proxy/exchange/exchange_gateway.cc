// Requests of clients outside the mesh: what a gateway's policies and rules for tokens say before they are
// routed.
#include <ctime>

#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/exchange/shadow_report.h"

namespace weft::proxy {

// Of now, and of the host that the request is for: the exchange may have waited for its head since long
// before. Null: nothing is asked. False: the listener that admitted the client is another now, or the host is
// gone, and with it what would judge the request.
bool Exchange::find_gateway_rules(const GatewayRules** rules) const {
  *rules = nullptr;
  const Snapshot& now = context_.current->snapshot();
  if (now.gateway_rules.empty() && generation_->snapshot().gateway_rules.empty()) return true;
  const std::string_view authority = is_connect() ? std::string_view() : request().authority;
  const GatewayServer* server = client_.server == nullptr ? nullptr : admitting_server(now, authority);
  if (client_.server != nullptr && server == nullptr) return false;
  const VirtualHost* host = now.find_gateway_host(authority, client_.dialled.port, server);
  if (host == nullptr) return false;
  *rules = now.find_gateway_rules(*host);
  return true;
}

// Clients outside the mesh choose what they write into X-Forwarded-For: theirs is the connection's address.
JudgedRequest Exchange::judged_at_gateway() const {
  JudgedRequest out = judged(request(), client_.client.ip, &context_.path_readings, token_.get());
  out.remote = client_.client.ip;
  out.server_name = client_.access->server_name;
  return out;
}

ConnectionPolicy::Verdict Exchange::verdict_at_gateway(const GatewayRules& rules) const {
  const bool hidden = hides_requests();
  if (hidden && rules.authentication != nullptr) return {false, kAuthentication};
  if (rules.policies == nullptr) return {};
  const ConnectionPolicy& policy = client_.access->policy(rules.policies, client_.client, client_.dialled);
  if (hidden) return policy.judge_bytes(client_.access->server_name);
  return policy.judge(judged_at_gateway());
}

// Whom the policies name of the gateway that has the host. Returns the rules, of now; null: nobody is asked.
const GatewayRules* Exchange::asked_at_gateway(std::vector<ConnectionPolicy::Asked>* asked) const {
  const GatewayRules* rules = nullptr;
  if (!find_gateway_rules(&rules) || rules == nullptr || !rules->asks_providers) return nullptr;
  const ConnectionPolicy& policy = client_.access->policy(rules->policies, client_.client, client_.dialled);
  if (policy.may_ask()) policy.asked(judged_at_gateway(), asked);
  return rules;
}

// Providers first; then tokens: what the policies, and then the routes, ask about claims is asked of proved
// ones.
Outcome Exchange::judge_at_gateway() {
  const GatewayRules* rules = nullptr;
  if (!find_gateway_rules(&rules)) return Outcome::kMisdirected;
  if (rules == nullptr) return Outcome::kOk;
  authentication_ = rules->authentication;
  if (authentication_ != nullptr &&
      !authentication_->authenticate(&request(), ::time(nullptr), &context_.tokens, &token_))
    return Outcome::kBadToken;
  const ConnectionPolicy::Verdict said = verdict_at_gateway(*rules);
  if (!said.allowed) {
    log_denied(said.policy);
    return Outcome::kAccessDenied;
  }
  if (rules->policies == nullptr) return Outcome::kOk;
  const ConnectionPolicy& policy = client_.access->policy(rules->policies, client_.client, client_.dialled);
  if (policy.shadow() != nullptr)
    report_shadow(context_, client_.origin, client_.client, client_.dialled.port,
                  policy.shadow()->judge(judged_at_gateway()));
  return Outcome::kOk;
}

bool Exchange::forbidden_at_gateway() const {
  const GatewayRules* rules = nullptr;
  return find_gateway_rules(&rules) && rules != nullptr && !verdict_at_gateway(*rules).allowed;
}

}  // namespace weft::proxy
