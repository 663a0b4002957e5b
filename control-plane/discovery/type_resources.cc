// See type_resources.h.
#include "control-plane/discovery/type_resources.h"

#include <algorithm>
#include <utility>

namespace weft::control_plane {
namespace {

using Namespaces = std::vector<std::string>;

// The one under which a resource of several is visited, which `wanted` has.
template <typename Wanted>
bool is_first(const Namespaces& namespaces, const std::string& ns, Wanted wanted) {
  const auto first = std::find_if(namespaces.begin(), namespaces.end(), wanted);
  return first != namespaces.end() && *first == ns;
}

template <typename Index>
void forget(Index& index, const std::string& key, const Resource& resource) {
  const auto found = index.find(key);
  if (found == index.end()) return;
  found->second.erase(resource.name());
  if (found->second.empty()) index.erase(found);
}

template <typename Set>
grpc::Slice encode(const Set& resources) {
  size_t size = 0;
  for (const Resource& resource : resources) size += encoded_size(resource);
  std::string text;
  text.reserve(size);
  for (const Resource& resource : resources) append_resource(resource, text);
  return to_slice(std::move(text));
}

}  // namespace

std::optional<TypeResources::Entry> TypeResources::put(const Resource& resource, Scope scope) {
  std::optional<Entry> before = remove(resource.name());
  Entry entry{.resource = resource, .scope = nullptr};
  if (scope.kind != Scope::Kind::kAll) entry.scope = std::make_unique<const Scope>(std::move(scope));
  enter(entry);
  entries_.insert(std::move(entry));
  return before;
}

std::optional<TypeResources::Entry> TypeResources::remove(std::string_view name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  std::optional<Entry> out(std::move(entries_.extract(found).value()));
  leave(*out);
  return out;
}

void TypeResources::enter(const Entry& entry) {
  const Resource& resource = entry.resource;
  if (entry.scope == nullptr) {
    altered_page(resource.name()).insert(resource);
    ++common_;
    return;
  }
  const Scope& scope = *entry.scope;
  if (scope.kind == Scope::Kind::kNode) of_node_[scope.node].insert(resource);
  if (scope.kind == Scope::Kind::kGateways) of_gateways_.insert(resource);
  if (scope.kind == Scope::Kind::kCaptured) of_captured_.insert(resource);
  if (scope.kind != Scope::Kind::kNamespaces) return;
  for (const std::string& ns : scope.namespaces) of_namespace_[ns].insert(resource);
}

void TypeResources::leave(const Entry& entry) {
  const Resource& resource = entry.resource;
  if (entry.scope == nullptr) {
    altered_page(resource.name()).erase(resource.name());
    --common_;
    return;
  }
  const Scope& scope = *entry.scope;
  if (scope.kind == Scope::Kind::kNode) forget(of_node_, scope.node, resource);
  if (scope.kind == Scope::Kind::kGateways) of_gateways_.erase(resource.name());
  if (scope.kind == Scope::Kind::kCaptured) of_captured_.erase(resource.name());
  if (scope.kind != Scope::Kind::kNamespaces) return;
  for (const std::string& ns : scope.namespaces) forget(of_namespace_, ns, resource);
}

const TypeResources::Entry* TypeResources::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found != entries_.end() ? &*found : nullptr;
}

void TypeResources::for_each(const NodeView* view, const Visit& visit) const {
  for (const Set& page : pages_) {
    for (const Resource& resource : page) visit(resource);
  }
  for_each_scoped(view, visit);
}

void TypeResources::for_each_scoped(const NodeView* seen_by, const Visit& visit) const {
  if (seen_by == nullptr) {
    for (const Entry& entry : entries_) {
      if (entry.scope != nullptr) visit(entry.resource);
    }
    return;
  }
  const NodeView& view = *seen_by;
  if (const auto own = of_node_.find(view.node); own != of_node_.end()) {
    for (const Resource& resource : own->second) visit(resource);
  }
  if (view.gateway) {
    for (const Resource& resource : of_gateways_) visit(resource);
  }
  for (const Resource& resource : of_captured_) {
    if (find(resource.name())->is_for(view)) visit(resource);
  }
  const auto visit_first = [&](const std::string& ns, const Set& resources, auto wanted) {
    for (const Resource& resource : resources) {
      if (is_first(find(resource.name())->scope->namespaces, ns, wanted)) visit(resource);
    }
  };
  if (view.gateway) {
    for (const auto& [ns, resources] : of_namespace_)
      visit_first(ns, resources, [](const std::string&) { return true; });
    return;
  }
  for (const std::string& ns : view.namespaces) {
    const auto found = of_namespace_.find(ns);
    if (found == of_namespace_.end()) continue;
    visit_first(ns, found->second, [&](const std::string& each) { return view.namespaces.contains(each); });
  }
}

void TypeResources::for_each_between(const NodeView& a, const NodeView& b, const Visit& visit) const {
  if (a.node != b.node || a.gateway != b.gateway) {
    for (const Entry& entry : entries_) {
      if (entry.is_for(a) != entry.is_for(b)) visit(entry.resource);
    }
    return;
  }
  for (const Resource& resource : of_captured_) {
    const Entry& entry = *find(resource.name());
    if (entry.is_for(a) != entry.is_for(b)) visit(resource);
  }
  const auto differs = [&](const std::string& ns) {
    return a.namespaces.contains(ns) != b.namespaces.contains(ns);
  };
  Namespaces apart;
  std::set_symmetric_difference(a.namespaces.begin(), a.namespaces.end(), b.namespaces.begin(),
                                b.namespaces.end(), std::back_inserter(apart));
  for (const std::string& ns : apart) {
    const auto found = of_namespace_.find(ns);
    if (found == of_namespace_.end()) continue;
    for (const Resource& resource : found->second) {
      const Entry& entry = *find(resource.name());
      if (entry.is_for(a) != entry.is_for(b) && is_first(entry.scope->namespaces, ns, differs))
        visit(resource);
    }
  }
}

void TypeResources::add_common(ResponseBytes& out) {
  std::shared_ptr<Encoded> encoded = encoded_.lock();
  if (encoded == nullptr) encoded_ = encoded = std::make_shared<Encoded>();
  for (size_t i = 0; i < kPages; ++i) {
    const Set& page = pages_[i];
    if (page.empty()) continue;
    std::optional<grpc::Slice>& bytes = (*encoded)[i];
    if (!bytes) bytes = encode(page);
    out.add_encoded(*bytes, page.size());
  }
  out.keep(std::move(encoded));
}

// By bits of the hash that the set within the page does not use.
TypeResources::Set& TypeResources::altered_page(std::string_view name) {
  const size_t at = (HashByName()(name) >> 48) % kPages;
  if (const std::shared_ptr<Encoded> encoded = encoded_.lock()) (*encoded)[at].reset();
  return pages_[at];
}

}  // namespace weft::control_plane
