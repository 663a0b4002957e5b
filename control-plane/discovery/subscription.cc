// See subscription.h.
#include "control-plane/discovery/subscription.h"

#include <algorithm>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

// As it may stand in a log: bounded, and on one line.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, kMaxRefusalBytes));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

// "name: reason" per line; names contain single colons never followed by a space.
std::map<std::string, std::string> parse_rejections(std::string_view text) {
  std::map<std::string, std::string> out;
  while (!text.empty()) {
    if (out.size() >= kMaxRefusals) {
      out["*"] = str_cat("and more, after the first ", kMaxRefusals);
      break;
    }
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const size_t colon = line.find(": ");
    if (colon != std::string_view::npos) {
      out.emplace(shown(line.substr(0, colon)), shown(line.substr(colon + 2)));
    } else if (!line.empty()) {
      out.emplace("*", shown(line));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (out.empty()) out.emplace("*", "refused without a reason");
  return out;
}

}  // namespace

void Subscription::begin(const Request& request, const SeenResources& resources) {
  const auto& names = request.resource_names_subscribe();
  wildcard_ = names.empty() || std::find(names.begin(), names.end(), "*") != names.end();
  hold(request, resources);
  change_interest(request, resources);
}

// Of what the client holds only what is otherwise now is kept: many come back at once, each with all names.
void Subscription::hold(const Request& request, const SeenResources& resources) {
  const auto& held = request.initial_resource_versions();
  if (held.empty()) return;
  fresh_ = false;
  for (const auto& [name, version] : held) {
    ++initial_.names;
    initial_.bytes += name.size() + version.size();
    const Resource* const resource = resources.find(name);
    if (resource == nullptr || resource->version() != version) behind_.emplace(name, version);
  }
  if (!wildcard_) return;
  resources.for_each([&](const Resource& resource) {
    std::string name(resource.name());
    if (!held.contains(name)) behind_.try_emplace(std::move(name));
  });
}

void Subscription::handle(const Request& request, const SeenResources& resources) {
  change_interest(request, resources);
  // A stale nonce belongs to a response that something newer has replaced; only the one in flight counts.
  if (request.response_nonce().empty() || request.response_nonce() != nonce_) return;
  nonce_.clear();
  acked_generation_ = sent_generation_;
  rejected_.clear();
  // A refusal still acknowledges: the good resources are in force, and sending the bad ones again would not
  // help.
  if (request.has_error_detail()) rejected_ = parse_rejections(request.error_detail().message());
}

void Subscription::want_all(const SeenResources& resources) {
  if (wildcard_) return;
  wildcard_ = true;
  if (fresh_) return;
  resources.for_each([this](const Resource& resource) {
    if (!names_.contains(std::string(resource.name()))) behind_.try_emplace(std::string(resource.name()));
  });
}

void Subscription::want(const std::string& name) {
  const bool wanted = wants(name);
  if (names_.insert(name).second) names_bytes_ += name.size();
  asked_.insert(name);
  if (!wanted && !fresh_) behind_.try_emplace(name);
}

void Subscription::change_interest(const Request& request, const SeenResources& resources) {
  for (const std::string& name : request.resource_names_subscribe()) {
    if (name == "*")
      want_all(resources);
    else
      want(name);
  }
  for (const std::string& name : request.resource_names_unsubscribe()) {
    if (name == "*") {
      wildcard_ = false;
    } else {
      if (names_.erase(name) > 0) names_bytes_ -= name.size();
      asked_.erase(name);
    }
  }
  // The client drops what it no longer wants by itself.
  if (!wildcard_) {
    std::erase_if(behind_, [this](const auto& entry) { return !names_.contains(entry.first); });
  }
}

void Subscription::changed(std::string_view name, std::optional<std::string_view> before,
                           std::optional<std::string_view> after) {
  const auto known = behind_.find(name);
  if (known == behind_.end()) {
    // To a fresh client such a name is new whatever happens to it.
    if (!fresh_ && wants(std::string(name))) behind_.emplace(name, before);
  } else if (known->second == after) {
    behind_.erase(known);
  }
}

bool Subscription::pending(Part part, const SeenResources& resources) const {
  if (part == Part::kUpserts && (first_due_ || !asked_.empty())) return true;
  return std::any_of(behind_.begin(), behind_.end(), [&](const auto& entry) {
    const Resource* const resource = resources.find(entry.first);
    if (part == Part::kRemovals) return entry.second.has_value() && resource == nullptr;
    return resource != nullptr && entry.second != resource->version();
  });
}

// What the client lacks and what it asked for, in the order of names; the client counts as having it
// afterwards.
std::vector<const Resource*> Subscription::due(const SeenResources& resources) {
  std::vector<const Resource*> out;
  const auto consider = [&](const Resource& resource) {
    const auto held = behind_.find(resource.name());
    const bool known = held != behind_.end() ? held->second == resource.version() : !fresh_;
    if (!known || asked_.contains(std::string(resource.name()))) out.push_back(&resource);
  };
  const auto consider_name = [&](const std::string& name) {
    if (const Resource* const found = resources.find(name)) consider(*found);
  };
  if (fresh_ && wildcard_) {
    resources.for_each(consider);
  } else if (fresh_) {
    for (const std::string& name : names_) consider_name(name);
  } else {
    for (const auto& [name, held] : behind_) consider_name(name);
    for (const std::string& name : asked_) {
      if (!behind_.contains(name)) consider_name(name);
    }
  }
  std::sort(out.begin(), out.end(),
            [](const Resource* a, const Resource* b) { return a->name() < b->name(); });
  return out;
}

void Subscription::fill_upserts(const SeenResources& resources, ResponseBytes& response) {
  if (fresh_ && wildcard_ && resources.shares()) {
    resources.add_all(response);
  } else {
    for (const Resource* resource : due(resources)) response.add(*resource);
  }
  for (const std::string& name : asked_) {
    if (resources.contains(name)) continue;
    const auto held = behind_.find(name);
    // What the client has and must lose is the other part's.
    if (held == behind_.end() || !held->second.has_value()) response.add_removed(name);
  }
  asked_.clear();
  first_due_ = false;
  fresh_ = false;
  std::erase_if(behind_, [&resources](const auto& entry) {
    return !entry.second.has_value() || resources.contains(entry.first);
  });
}

void Subscription::fill_removals(const SeenResources& resources, ResponseBytes& response) {
  std::erase_if(behind_, [&](const auto& entry) {
    if (resources.contains(entry.first)) return false;
    if (entry.second.has_value()) response.add_removed(entry.first);
    return true;
  });
}

void Subscription::fill(Part part, const SeenResources& resources, const std::string& nonce,
                        uint64_t generation, ResponseBytes& response) {
  if (part == Part::kUpserts)
    fill_upserts(resources, response);
  else
    fill_removals(resources, response);
  nonce_ = nonce;
  sent_generation_ = generation;
}

}  // namespace weft::control_plane
