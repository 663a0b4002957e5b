// The mesh as the control plane last described it. What every change asks of workloads and services is kept
// in a compact form, beside the resource itself, whose bytes are shared with the ADS server; the whole
// message is decoded when somebody asks. Routes and policies are few and kept as messages. The reconciler
// thread owns it; the admin service reads it there. It never decides anything.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/container/node_hash_map.h"
#include "absl/types/span.h"
#include "agent/policy/l4_policy.h"
#include "agent/policy/token_rules.h"
#include "base/address.h"
#include "control-plane/control_plane.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::agent {

// Names of what one change made, altered or removed, and of the services whose endpoints it altered.
// Resources, as they are or were, because their names are shared and need no copy.
struct Touched {
  using Names =
      absl::flat_hash_set<control_plane::Resource, control_plane::HashByName, control_plane::EqualByName>;
  Names workloads;  // uids
  Names services;   // "<namespace>/<hostname>"
};

// Where a workload runs; shared by all that run there.
struct WorkloadPlace {
  std::string node;
  std::string region;
  std::string zone;
  std::string subzone;

  bool has_locality() const { return !region.empty() || !zone.empty() || !subzone.empty(); }
  bool operator==(const WorkloadPlace&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const WorkloadPlace& place) {
    return H::combine(std::move(h), place.node, place.region, place.zone, place.subzone);
  }
};

struct MeshService;

// Port numbers are as the resource has them: whoever uses one checks that it is a port.
struct MeshWorkload {
  struct Port {
    uint32_t service_port = 0;
    uint32_t target_port = 0;  // 0: the service's
  };
  struct Membership {
    MeshService* service = nullptr;  // lives as long as it has members
    absl::InlinedVector<Port, 2> ports;
  };

  explicit MeshWorkload(control_plane::Resource described) : resource(std::move(described)) {}
  std::string uid() const { return std::string(resource.name()); }
  // nullptr when the workload is no member.
  const absl::InlinedVector<Port, 2>* ports_of(const MeshService* service) const;

  control_plane::Resource resource;
  absl::InlinedVector<IpAddress, 1> addresses;
  absl::InlinedVector<Membership, 1> services;
  const WorkloadPlace* place = nullptr;
  uint32_t capacity = 1;
  bool healthy = true;
  // Its addresses are the node's and name nobody.
  bool host_network = false;
  // Other nodes reach it by HBONE tunnels.
  bool tunnels = false;
  bool native_tunnel = false;       // and its application takes them itself
  bool encrypts_same_node = false;  // so do pods of its own node
};

struct MeshService {
  struct Port {
    uint32_t service_port = 0;
    uint32_t target_port = 0;  // 0: the same
    istio::workload::AppProtocol protocol = istio::workload::UNKNOWN;
  };
  // What few services ask for.
  struct Wishes {
    istio::workload::LoadBalancing balancing;
    uint32_t affinity_seconds = 0;
    std::vector<Port> datagram_ports;
  };

  explicit MeshService(control_plane::Resource known) : resource(std::move(known)) {}
  std::string key() const { return std::string(resource.name()); }
  const Wishes& asks() const;

  // While `described` is false it is only the name that members refer to.
  control_plane::Resource resource;
  bool described = false;
  absl::InlinedVector<IpAddress, 1> addresses;  // without ranges
  absl::InlinedVector<Port, 1> ports;
  std::unique_ptr<Wishes> wishes;  // nullptr: none
  // In the order of their uids.
  absl::InlinedVector<const MeshWorkload*, 2> members;
};

class MeshModel {
 public:
  // Folds upserts, then removals. A resource that cannot be decoded is logged and leaves the old one in
  // force.
  Touched apply(const control_plane::Change& change);

  size_t workload_count() const { return workloads_.size(); }
  size_t service_count() const { return described_; }
  // nullptr when there is none of that name.
  const MeshWorkload* workload(std::string_view uid) const;
  const MeshService* service(std::string_view key) const;
  // In the order of their names; valid until the next change.
  std::vector<const MeshWorkload*> workloads() const;
  std::vector<const MeshService*> services() const;
  const std::map<std::string, mesh::v1::RouteSet>& routes() const { return routes_; }
  const std::map<std::string, mesh::v1::DestinationPolicy>& policies() const { return policies_; }
  // Each passed validate_policy().
  const Authorizations& authorizations() const { return authorizations_; }
  const TokenRules& token_rules() const { return token_rules_; }

  // The workload of that namespace and name, whole; nullopt when the mesh does not know it.
  std::optional<istio::workload::Workload> find_workload(std::string_view ns, std::string_view name) const;

 private:
  bool upsert(const control_plane::Resource& resource, Touched* touched);
  bool upsert_address(const control_plane::Resource& resource, Touched* touched);
  void put_workload(const control_plane::Resource& resource, const istio::workload::Workload& message,
                    Touched* touched);
  void put_service(const control_plane::Resource& resource, const istio::workload::Service& message,
                   Touched* touched);
  void erase_address(std::string_view name, Touched* touched);
  void erase_workload(std::string_view uid, Touched* touched);
  MeshService& service_named(std::string_view key);
  void drop_if_unused(MeshService* service);
  const WorkloadPlace* enter_place(const istio::workload::Workload& message);
  void leave_place(const WorkloadPlace* place);

  template <typename T>
  using Named =
      absl::flat_hash_set<std::unique_ptr<T>, control_plane::HashByName, control_plane::EqualByName>;
  Named<MeshWorkload> workloads_;
  Named<MeshService> services_;
  size_t described_ = 0;
  // How many workloads are there.
  absl::node_hash_map<WorkloadPlace, size_t> places_;
  // By a hash of namespace and name; whoever looks compares the names.
  absl::flat_hash_map<size_t, const MeshWorkload*> by_name_;
  std::map<std::string, mesh::v1::RouteSet> routes_;
  std::map<std::string, mesh::v1::DestinationPolicy> policies_;
  Authorizations authorizations_;
  TokenRules token_rules_;
};

// The messages that these resources carry; what is kept has been decoded before, so it can be again.
istio::workload::Workload whole(const MeshWorkload& workload);
istio::workload::Service whole(const MeshService& service);

// What the service's extension says that Istio's message cannot; defaults when it has none.
mesh::v1::ServicePorts service_extension(const istio::workload::Service& service);

}  // namespace weft::agent
