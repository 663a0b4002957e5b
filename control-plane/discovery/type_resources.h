// The resources of one type, each with the nodes that it is for. What a node sees, and what it sees otherwise
// when its pods are in other namespaces, is found by index: it costs what it is, not what there is. Resources
// that are for all are kept in pages whose encoded bytes the first answers of many streams share. Pure;
// AdsService's lock guards it.
#pragma once

#include <grpcpp/support/slice.h>

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "control-plane/discovery/response_bytes.h"
#include "control-plane/discovery/scope.h"
#include "control-plane/resource.h"

namespace weft::control_plane {

class TypeResources {
 public:
  struct Entry {
    Resource resource;
    std::unique_ptr<const Scope> scope;  // null: it is for all

    bool is_for(const NodeView& view) const { return scope == nullptr || view.sees(*scope); }
  };
  using Visit = std::function<void(const Resource&)>;

  // Takes the place of that of the same name, which is returned.
  std::optional<Entry> put(const Resource& resource, Scope scope);
  std::optional<Entry> remove(std::string_view name);

  // nullptr: there is none.
  const Entry* find(std::string_view name) const;
  // All that the node sees, each once; nullptr: all.
  void for_each(const NodeView* view, const Visit& visit) const;
  // Of those that are not for all, what the node sees; nullptr: all.
  void for_each_scoped(const NodeView* view, const Visit& visit) const;
  // Those that one of the two sees and the other does not, each once.
  void for_each_between(const NodeView& a, const NodeView& b, const Visit& visit) const;

  // How many are for all.
  size_t common() const { return common_; }
  // Adds them. What is encoded for it is there for the next stream as long as one keeps what `out` keeps.
  void add_common(ResponseBytes& out);

 private:
  using Set = absl::flat_hash_set<Resource, HashByName, EqualByName>;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return HashByName()(name); }
    size_t operator()(const Entry& entry) const { return HashByName()(entry.resource); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Entry& a, const Entry& b) const { return a.resource.name() == b.resource.name(); }
    bool operator()(const Entry& a, std::string_view b) const { return a.resource.name() == b; }
    bool operator()(std::string_view a, const Entry& b) const { return a == b.resource.name(); }
  };
  // A change costs a page to encode anew for the next stream: of 50,000 resources, 200.
  static constexpr size_t kPages = 256;
  using Encoded = std::array<std::optional<grpc::Slice>, kPages>;

  // That of the name, which is about to be another one.
  Set& altered_page(std::string_view name);
  void enter(const Entry& entry);
  void leave(const Entry& entry);

  absl::flat_hash_set<Entry, Hash, Equal> entries_;
  std::array<Set, kPages> pages_;
  std::weak_ptr<Encoded> encoded_;
  size_t common_ = 0;
  std::map<std::string, Set, std::less<>> of_node_, of_namespace_;
  Set of_gateways_;
  // Keys, of which there are few: each is asked.
  Set of_captured_;
};

// What one client sees of them; both outlive it.
class SeenResources {
 public:
  // `view` nullptr: all.
  SeenResources(TypeResources& all, const NodeView* view) : all_(all), view_(view) {}

  // nullptr: it is not there for this client.
  const Resource* find(std::string_view name) const {
    const TypeResources::Entry* const found = all_.find(name);
    const bool seen = found != nullptr && (view_ == nullptr || found->is_for(*view_));
    return seen ? &found->resource : nullptr;
  }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  void for_each(const TypeResources::Visit& visit) const { all_.for_each(view_, visit); }
  // So many that it is better to share what was encoded for others than to have them in order.
  bool shares() const { return all_.common() >= kManyCommon; }
  // Everything that the client sees.
  void add_all(ResponseBytes& out) const {
    all_.add_common(out);
    all_.for_each_scoped(view_, [&out](const Resource& resource) { out.add(resource); });
  }

 private:
  static constexpr size_t kManyCommon = 1'000;

  TypeResources& all_;
  const NodeView* const view_;
};

}  // namespace weft::control_plane
