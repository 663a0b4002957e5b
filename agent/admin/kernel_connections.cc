// See kernel_connections.h.
#include "agent/admin/kernel_connections.h"

#include <optional>
#include <utility>

#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

const std::string& remote_of(const admin::v1::Connection& one) {
  return one.path() == "inbound" || one.backend_address().empty() ? one.destination_address()
                                                                  : one.backend_address();
}

std::optional<SeenTraffic> seen(const admin::v1::Connection& one) {
  const bool inbound = one.path() == "inbound";
  if (!inbound && one.path() != "direct" && one.path() != "pass") return std::nullopt;
  const auto source = SocketAddress::parse(one.source_address());
  const auto destination = SocketAddress::parse(remote_of(one));
  if (!source || !destination || destination->port == WEFT_PORT_HBONE) return std::nullopt;
  const std::string& server = inbound || one.backend().empty() ? one.destination() : one.backend();
  // The proxy dials the application of its own pod.
  if (server.empty() || server == one.source()) return std::nullopt;
  return SeenTraffic{.client = one.source(),
                     .source = source->ip,
                     .server = server,
                     .destination = *destination,
                     .method = {},
                     .path = {},
                     .authority = {},
                     .refused = false};
}

}  // namespace

bool KernelConnections::remember(const admin::v1::Connection& one) {
  std::string ends = str_cat(one.source_address(), " ", remote_of(one));
  if (known_.size() < most_) return known_.insert(std::move(ends)).second;
  left_out_ = left_out_ || !known_.contains(ends);
  return false;
}

std::vector<SeenTraffic> KernelConnections::take_new(const admin::v1::ConnectionList& list) {
  left_out_ = left_out_ || list.matched() > static_cast<uint64_t>(list.connections_size());
  for (const admin::v1::Connection& one : list.connections()) {
    if (one.path() == "upstream" || one.path() == "proxy") remember(one);
  }
  std::vector<SeenTraffic> out;
  for (const admin::v1::Connection& one : list.connections()) {
    auto traffic = seen(one);
    if (traffic && remember(one)) out.push_back(*std::move(traffic));
  }
  return out;
}

}  // namespace weft::agent
