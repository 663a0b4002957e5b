// The resources of a proxy, and its snapshots one after the other: what is as it was is shared with the one
// before. Where nothing but the routes of some sets has changed, nothing but these is made, however many
// services there are. Of the configuration client; one thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/route_lists.h"

namespace weft::proxy {

class SnapshotSeries {
 public:
  explicit SnapshotSeries(PathNormalisation path_normalisation = PathNormalisation::kBase)
      : store_(path_normalisation) {}

  // As ResourceStore has them.
  absl::Status apply(const std::string& type, const envoy::service::discovery::v3::Resource& resource);
  void remove(const std::string& type, const std::string& name);
  const ResourceStore& store() const { return store_; }

  // What a snapshot of all resources at once is. The generation of the first is 1.
  SnapshotPtr next();
  // The last; null: there was none.
  const SnapshotPtr& last() const { return last_; }

 private:
  using RouteSetPtr = std::shared_ptr<const RouteSetSpec>;

  // Null: there is none of that name, or the type is another.
  RouteSetPtr routes_of(const std::string& type, const std::string& name) const;
  // Null: it takes more.
  SnapshotPtr reroute();
  // All is made anew then, and what was rerouted need not be kept.
  void note_other();

  ResourceStore store_;
  RouteLists lists_;
  SnapshotPtr last_;
  uint64_t generation_ = 0;
  // Since the last snapshot: sets before and now that lead alike, and whether there were other changes.
  std::vector<std::pair<RouteSetPtr, RouteSetPtr>> rerouted_;
  bool others_ = true;
};

}  // namespace weft::proxy
