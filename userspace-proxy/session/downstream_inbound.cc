// DownstreamConnection, of what comes in to a pod: its beginning, and what a change of policies does to it.
#include "base/log.h"
#include "userspace-proxy/exchange/shadow_report.h"
#include "userspace-proxy/session/downstream_connection.h"

namespace weft::proxy {

void DownstreamConnection::start_inbound(UniqueFd fd, std::unique_ptr<PlainInbound> inbound) {
  inbound_ = std::move(inbound);
  inbound_->read(*origin_, context_.current->snapshot());
  policy_ = &inbound_->policy();
  if (adopt(std::move(fd))) begin_judged();
}

// Not one of the pod's connections: streams of its tunnel's connection are bounded there.
void DownstreamConnection::start_judged(SocketIo* io, const SocketAddress& dialled,
                                        const ConnectionPolicy& policy) {
  policy_ = &policy;
  dialled_ = dialled;
  socket_.replace_io(io);
  socket_.watch_reset(reset_);
  begin_judged();
}

bool DownstreamConnection::must_be_read() const {
  return requests_count(*policy_, *origin_, dialled_.port, context_.current->snapshot());
}

// No request, nor its token, changes the verdict.
bool DownstreamConnection::only_server_name_counts() const {
  return policy_->decision() == ConnectionPolicy::Decision::kDepends && !policy_->asks_requests() &&
         authentication_of(*origin_, dialled_.port, context_.current->snapshot()) == nullptr;
}

// What is no HTTP, or is not read as such.
bool DownstreamConnection::bytes_allowed() const {
  const auto rules = authentication_of(*origin_, dialled_.port, context_.current->snapshot());
  return rules == nullptr && policy_->judge_bytes(known_server_name()).allowed;
}

// Nullopt: nobody looked, or it began as TLS does and has said no name that we could read; its server may.
std::optional<std::string_view> DownstreamConnection::known_server_name() const {
  return named_ ? std::optional<std::string_view>(server_name_) : std::nullopt;
}

void DownstreamConnection::start_inbound_tcp() {
  const ConnectionPolicy::Verdict said = policy_->judge_bytes(known_server_name());
  if (!said.allowed && policy_->decision() == ConnectionPolicy::Decision::kDepends)
    log_forbidden("connection_denied", said.policy);
  if (policy_->shadow() != nullptr && bytes_allowed())
    report_shadow(context_, *origin_, client_, dialled_.port,
                  policy_->shadow()->judge_bytes(known_server_name()));
}

// Where all is allowed nothing may end because it was read: what does not look like HTTP soon is passed on.
void DownstreamConnection::begin_judged() {
  if (must_be_read() && only_server_name_counts()) {
    opaque_ = true;
    context_.loop.arm(timer_, context_.limits.downstream_idle_ms);
    return receive();
  }
  if (must_be_read()) return enter_idle();
  if (policy_->decision() == ConnectionPolicy::Decision::kDenied) {
    log_forbidden("connection_denied", policy_->denied_by());
    return start_tcp();
  }
  if (policy_->shadow() == nullptr || !policy_->shadow()->depends()) return start_tcp();
  context_.loop.arm(timer_, context_.limits.sniff_timeout_ms);
  receive();
}

void DownstreamConnection::recheck() {
  // It was passed on unread, or never begun to be read, and would have to be read from its beginning.
  const bool begins = state_ == State::kDetecting && !(opaque_ && only_server_name_counts());
  if ((begins && must_be_read()) || (tcp_ != nullptr && !bytes_allowed())) return cut(Outcome::kAccessDenied);
  if (http_ != nullptr && http_->exchange.forbidden()) return cut(Outcome::kAccessDenied);
  if (http2_ != nullptr) http2_->recheck();
}

void DownstreamConnection::recheck_inbound() {
  if (inbound_ == nullptr) return;
  const bool changed = inbound_->read(*origin_, context_.current->snapshot());
  if (policy_->decision() != ConnectionPolicy::Decision::kDenied) {
    // What tokens count for may have changed without a policy.
    if (changed || must_be_read()) recheck();
    return;
  }
  if (!changed) return;
  log_forbidden("connection_closed", policy_->denied_by());
  cut(Outcome::kAccessDenied);
}

// A line a second is enough to find out which.
void DownstreamConnection::log_forbidden(std::string_view event, std::string_view policy) {
  if (context_.loop.now() < context_.next_tunnel_line) return;
  context_.next_tunnel_line = context_.loop.now() + kNsPerSecond;
  log::info(event, {{"workload", origin_->workload_uid()},
                    {"address", client_.to_string()},
                    {"port", dialled_.port},
                    {"policy", policy}});
}

}  // namespace weft::proxy
