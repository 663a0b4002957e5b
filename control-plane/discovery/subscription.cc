// See subscription.h.
#include "control-plane/discovery/subscription.h"

#include <string_view>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;

// "name: reason" per line; names contain single colons never followed by a space.
std::map<std::string, std::string> parse_rejections(std::string_view text) {
  std::map<std::string, std::string> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const size_t colon = line.find(": ");
    if (colon != std::string_view::npos) {
      out.emplace(line.substr(0, colon), line.substr(colon + 2));
    } else if (!line.empty()) {
      out.emplace("*", line);
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (out.empty()) out.emplace("*", "refused without a reason");
  return out;
}

}  // namespace

void Subscription::begin(const xds::DeltaDiscoveryRequest& request) {
  wildcard_ = request.resource_names_subscribe_size() == 0;
  for (const auto& [name, version] : request.initial_resource_versions()) sent_[name] = version;
  change_interest(request);
}

void Subscription::handle(const xds::DeltaDiscoveryRequest& request) {
  change_interest(request);
  // A stale nonce belongs to a response that something newer has replaced; only the one in flight counts.
  if (request.response_nonce().empty() || request.response_nonce() != nonce_) return;
  nonce_.clear();
  acked_generation_ = sent_generation_;
  rejected_.clear();
  // A refusal still acknowledges: the good resources are in force, and sending the bad ones again would not
  // help.
  if (request.has_error_detail()) rejected_ = parse_rejections(request.error_detail().message());
}

void Subscription::change_interest(const xds::DeltaDiscoveryRequest& request) {
  for (const std::string& name : request.resource_names_subscribe()) {
    if (name == "*") {
      wildcard_ = true;
    } else {
      names_.insert(name);
      asked_.insert(name);
    }
  }
  for (const std::string& name : request.resource_names_unsubscribe()) {
    if (name == "*") {
      wildcard_ = false;
    } else {
      names_.erase(name);
      asked_.erase(name);
    }
  }
  // The client drops what it no longer wants by itself.
  if (!wildcard_) {
    std::erase_if(sent_, [this](const auto& entry) { return !names_.contains(entry.first); });
  }
}

bool Subscription::pending(Part part, const TypeResources& resources) const {
  if (part == Part::kUpserts) {
    if (first_due_ || !asked_.empty()) return true;
    for (const auto& [name, resource] : resources) {
      const auto sent = sent_.find(name);
      if (wants(name) && (sent == sent_.end() || sent->second != resource.version)) return true;
    }
    return false;
  }
  for (const auto& [name, version] : sent_) {
    if (!resources.contains(name)) return true;
  }
  return false;
}

void Subscription::fill(Part part, const TypeResources& resources, const std::string& nonce,
                        uint64_t generation, xds::DeltaDiscoveryResponse& response) {
  if (part == Part::kUpserts) {
    for (const auto& [name, resource] : resources) {
      const auto sent = sent_.find(name);
      const bool known = sent != sent_.end() && sent->second == resource.version;
      if (!wants(name) || (known && !asked_.contains(name))) continue;
      xds::Resource& out = *response.add_resources();
      out.set_name(name);
      out.set_version(resource.version);
      out.mutable_resource()->set_type_url(resource.type_url);
      out.mutable_resource()->set_value(resource.body);
      sent_[name] = resource.version;
    }
    for (const std::string& name : asked_) {
      if (!resources.contains(name) && !sent_.contains(name)) response.add_removed_resources(name);
    }
    asked_.clear();
    first_due_ = false;
  } else {
    for (auto at = sent_.begin(); at != sent_.end();) {
      if (resources.contains(at->first)) {
        ++at;
        continue;
      }
      response.add_removed_resources(at->first);
      at = sent_.erase(at);
    }
  }
  response.set_nonce(nonce);
  nonce_ = nonce;
  sent_generation_ = generation;
}

}  // namespace weft::control_plane
