// DownstreamConnection, of clients outside the mesh at a gateway's port: what is spoken there, whose listener
// admits them, and which connections its policies let in.
#include "base/log.h"
#include "userspace-proxy/exchange/shadow_report.h"
#include "userspace-proxy/session/downstream_connection.h"

namespace weft::proxy {

void DownstreamConnection::choose_gateway_protocol() {
  const GatewayPort* port = context_.current->snapshot().find_gateway_port(dialled_.port);
  // Its routes are gone, or not here yet: there is nothing to pass through to.
  if (port == nullptr) return end(true);
  if (port->kind == GatewayPort::Kind::kHttp) return enter_idle();
  if (port->kind == GatewayPort::Kind::kTcp) return start_tcp();
  opaque_ = true;
  context_.loop.arm(timer_, context_.limits.head_timeout_ms);
  receive();
}

// What ends TLS for the connection's server name, if it would still admit the client; else null.
const GatewayServer* DownstreamConnection::admitting_server(const Snapshot& snapshot) const {
  const GatewayServer* server = snapshot.find_gateway_server(server_name_, dialled_.port);
  const bool same = server != nullptr && server->tls != nullptr && server->tls->admits_as(*terms_);
  return same ? server : nullptr;
}

void DownstreamConnection::recheck_admission() {
  if (terms_ != nullptr && admitting_server(context_.current->snapshot()) == nullptr) {
    if (http2_ != nullptr) return http2_->drain();
    if (tcp_ != nullptr || state_ == State::kHandshake) cut(Outcome::kMisdirected);
    return;
  }
  if (!origin_->is_gateway()) return;
  if (tcp_ != nullptr && gateway_refuses()) return cut(Outcome::kAccessDenied);
  if (http_ != nullptr && http_->exchange.forbidden()) return cut(Outcome::kAccessDenied);
  if (http2_ != nullptr) http2_->recheck();
}

// Of a connection whose requests, if it has any, nobody reads: the rules of the listener that has its server
// name, else of the port. Null: it is let in whatever it says.
const ConnectionPolicy* DownstreamConnection::gateway_policy() {
  const Snapshot& now = context_.current->snapshot();
  const bool named = terms_ != nullptr || tls_;
  const GatewayServer* server = named ? now.find_gateway_server(server_name_, dialled_.port) : nullptr;
  const GatewayPort* port = now.find_gateway_port(dialled_.port);
  const GatewayRules* rules = server != nullptr ? server->rules.get()
                              : port != nullptr ? port->rules.get()
                                                : nullptr;
  if (rules == nullptr || rules->policies == nullptr) return nullptr;
  return &gateway_->access.policy(rules->policies, client_, dialled_);
}

bool DownstreamConnection::gateway_refuses() {
  const ConnectionPolicy* policy = gateway_policy();
  if (policy == nullptr) return false;
  const ConnectionPolicy::Verdict said = policy->judge_bytes(known_server_name());
  if (!said.allowed) log_forbidden("connection_denied", said.policy);
  return !said.allowed;
}

void DownstreamConnection::report_gateway_shadow() {
  const ConnectionPolicy* policy = gateway_policy();
  if (policy != nullptr && policy->shadow() != nullptr)
    report_shadow(context_, *origin_, client_, dialled_.port,
                  policy->shadow()->judge_bytes(known_server_name()));
}

}  // namespace weft::proxy
