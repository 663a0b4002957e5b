// Nodes and pods made of network namespaces: every node is a namespace with a bridge, every pod a namespace
// with a veth pair to its node's bridge, IPv4 and IPv6 addresses and a default route; nodes reach each other
// over one link. Fixtures build it inside a Sandbox; namespaces go with the sandbox.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/address.h"
#include "tests/harness/process.h"
#include "tests/harness/sandbox.h"

namespace weft::harness {

struct Pod {
  std::string name;
  uint32_t node = 1;
  std::string netns;   // /run/netns/NAME
  std::string cgroup;  // its processes live here
  IpAddress ip4, ip6;

  SocketAddress v4(uint16_t port) const { return {ip4, port}; }
  SocketAddress v6(uint16_t port) const { return {ip6, port}; }
  std::string node_name() const;
};

class Topology {
 public:
  // `nodes` is 1 or 2. Nodes are 10.77.N.0/24 and fd77:0:0:N::/64, joined by 10.77.0.0/24 and fd77::/64.
  static absl::StatusOr<std::unique_ptr<Topology>> create(const Sandbox& sandbox, uint32_t nodes);

  // The pod's address ends in 10, 11, … per node, in order of adding.
  absl::StatusOr<Pod> add_pod(uint32_t node, const std::string& name);
  // The pod's namespace and link, as when its runtime deletes it.
  absl::Status remove_pod(const Pod& pod);
  const std::string& host_netns(uint32_t node) const { return hosts_.at(node - 1); }

 private:
  explicit Topology(const Sandbox& sandbox) : sandbox_(sandbox) {}
  absl::Status add_node(uint32_t node);
  absl::Status join_nodes();

  const Sandbox& sandbox_;
  std::vector<std::string> hosts_;
  std::map<uint32_t, uint32_t> pods_per_node_;
};

}  // namespace weft::harness
