// Lists of routes from one snapshot to the next: what a RouteSet becomes where its destinations are the same
// clusters is made once, and shared by client namespaces, ports and snapshots. So a change costs what it
// changes, not what is there. Of the configuration client, or of one build_snapshot(); one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

class RouteLists {
 public:
  // What the routes of `set` and their mirrors go to, each once. Valid until finish().
  const std::vector<const DestinationSpec*>& destinations_of(const RouteSetSpec& set);
  // The index in out.virtual_hosts of the routes of `set`, where its destinations are these clusters (kNone:
  // there is none).
  uint32_t add(const RouteSetSpec& set, std::vector<uint32_t> clusters, Snapshot& out);
  // Puts the routes of `now` where those of `before` are in `out`, a copy of the last snapshot that was made:
  // of two sets that lead_alike(). False: they go to other destinations, and all has to be made anew.
  bool replace(const RouteSetSpec& before, const RouteSetSpec& now, Snapshot& out);
  // A snapshot is made: what it has not used is forgotten.
  void finish();

 private:
  struct Made {
    std::shared_ptr<const VirtualHost> host;
    uint64_t snapshot = 0;  // the last that has it, as this counts them,
    uint32_t index = 0;     // there
  };
  struct Known {
    std::shared_ptr<const RouteSetSpec> set;  // so that no other gets its address
    std::vector<const DestinationSpec*> destinations;
    // Which of them each destination and mirror is, in the order of routes.
    std::vector<uint32_t> which;
    std::map<std::vector<uint32_t>, Made> by_clusters;
  };

  Known& known(const RouteSetSpec& set);
  static VirtualHost make_host(const Known& known, const std::vector<uint32_t>& clusters);

  uint64_t snapshot_ = 1;  // that is being made
  absl::flat_hash_map<const RouteSetSpec*, std::unique_ptr<Known>> sets_;
};

// Whether the two are found by the same clients in the same places, but for where their routes go to.
bool lead_alike(const RouteSetSpec& before, const RouteSetSpec& now);

// One share of a route's requests.
WeightedCluster weighted_cluster(const DestinationSpec& destination, uint32_t cluster);

}  // namespace weft::proxy
