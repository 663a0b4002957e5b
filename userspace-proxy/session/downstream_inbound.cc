// DownstreamConnection, of what comes in to a pod: its beginning, and what a change of policies does to it.
#include "base/log.h"
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

// Where all is allowed nothing may end because it was read: what does not look like HTTP soon is passed on.
void DownstreamConnection::begin_judged() {
  if (must_be_read()) return enter_idle();
  if (policy_->decision() == ConnectionPolicy::Decision::kDenied) {
    log_forbidden("connection_denied", policy_->denied_by());
    return start_tcp();
  }
  if (policy_->shadow() == nullptr || !policy_->shadow()->asks_requests()) return start_tcp();
  context_.loop.arm(timer_, context_.limits.sniff_timeout_ms);
  receive();
}

void DownstreamConnection::recheck() {
  // It was passed on unread, or never begun to be read, and would have to be read from its beginning.
  if ((tcp_ != nullptr || state_ == State::kDetecting) && must_be_read()) return cut(Outcome::kAccessDenied);
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
