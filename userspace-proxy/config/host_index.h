// Which RouteSet or policy applies to a host for a client namespace: exact name first, then the longest wildcard, among those
// exported to that namespace, oldest first. Used by the snapshot builder only; holds borrowed pointers.
#pragma once

#include <algorithm>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/strings.h"

namespace weft::proxy {

template <typename Spec>
bool visible_in(const Spec& spec, std::string_view client_ns) {
  if (spec.export_to.empty()) return true;
  const auto names = [&](const std::string& ns) { return ns == "*" || ns == client_ns; };
  return std::any_of(spec.export_to.begin(), spec.export_to.end(), names);
}

template <typename Spec>
class HostIndex {
 public:
  void add(std::string_view host, const Spec& spec) { by_host_[to_absl(host)].push_back(&spec); }

  // After the last add: oldest first, ties by name, then namespace.
  void sort() {
    const auto age = [](const Spec* s) { return std::tie(s->created, s->name, s->ns); };
    for (auto& [host, specs] : by_host_) {
      std::sort(specs.begin(), specs.end(), [&](const Spec* a, const Spec* b) { return age(a) < age(b); });
    }
  }

  // All that apply at the most specific spelling of `host` (lower case) for which one passes `accept`; empty: none.
  template <typename Accept>
  std::vector<const Spec*> find(std::string_view host, Accept accept) const {
    std::vector<const Spec*> out;
    if (by_host_.empty()) return out;
    collect(host, accept, &out);
    for (size_t dot = host.find('.'); out.empty() && dot != std::string_view::npos; dot = host.find('.', dot + 1)) {
      collect(host.substr(dot), accept, &out);
    }
    return out;
  }

 private:
  template <typename Accept>
  void collect(std::string_view host, Accept accept, std::vector<const Spec*>* out) const {
    const auto found = by_host_.find(to_absl(host));
    if (found == by_host_.end()) return;
    for (const Spec* spec : found->second) {
      if (accept(*spec)) out->push_back(spec);
    }
  }

  absl::flat_hash_map<absl::string_view, std::vector<const Spec*>> by_host_;
};

}  // namespace weft::proxy
