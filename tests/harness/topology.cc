// See topology.h. Links are made with ip(8) in batches: one process per step instead of one per command.
#include "tests/harness/topology.h"

#include <fstream>

#include "base/status_macros.h"
#include "tests/harness/wait.h"

namespace weft::harness {
namespace {

absl::Status ip_batch(const Sandbox& sandbox, const std::string& netns, const std::string& commands) {
  const std::string path = sandbox.directory() + "/ip.batch";
  std::ofstream(path) << commands;
  std::vector<std::string> argv = {"ip"};
  if (!netns.empty()) argv.insert(argv.end(), {"-n", netns});
  argv.insert(argv.end(), {"-batch", path});
  Spawn spawn;
  spawn.argv = std::move(argv);
  const CommandResult result = run(spawn);
  if (result.exit_code == 0) return absl::OkStatus();
  return absl::InternalError(
      str_cat("ip -batch in '", netns, "': ", result.errors, result.output, "\n", commands));
}

absl::Status set_forwarding(const std::string& netns_path) {
  return in_namespace(netns_path, [] {
    std::ofstream("/proc/sys/net/ipv4/ip_forward") << "1";
    std::ofstream("/proc/sys/net/ipv6/conf/all/forwarding") << "1";
  });
}

std::string netns_path(const std::string& name) { return "/run/netns/" + name; }
std::string host_name(uint32_t node) { return str_cat("weft-it-node", node); }

}  // namespace

std::string Pod::node_name() const { return str_cat("node", node); }

absl::StatusOr<std::unique_ptr<Topology>> Topology::create(const Sandbox& sandbox, uint32_t nodes) {
  std::unique_ptr<Topology> topology(new Topology(sandbox));
  for (uint32_t node = 1; node <= nodes; ++node) RETURN_IF_ERROR(topology->add_node(node));
  if (nodes == 2) RETURN_IF_ERROR(topology->join_nodes());
  return topology;
}

absl::Status Topology::add_node(uint32_t node) {
  const std::string name = host_name(node);
  RETURN_IF_ERROR(ip_batch(sandbox_, "", str_cat("netns add ", name, "\n")));
  RETURN_IF_ERROR(ip_batch(
      sandbox_, name,
      str_cat("link set lo up\n", "link add br0 type bridge\n", "link set br0 up\n", "addr add 10.77.", node,
              ".1/24 dev br0\n", "addr add fd77:0:0:", node, "::1/64 dev br0 nodad\n")));
  RETURN_IF_ERROR(set_forwarding(netns_path(name)));
  hosts_.push_back(netns_path(name));
  return absl::OkStatus();
}

absl::Status Topology::join_nodes() {
  RETURN_IF_ERROR(
      ip_batch(sandbox_, host_name(1),
               str_cat("link add up0 type veth peer name up0 netns ", host_name(2), "\n", "link set up0 up\n",
                       "addr add 10.77.0.1/24 dev up0\n", "addr add fd77::1/64 dev up0 nodad\n")));
  RETURN_IF_ERROR(
      ip_batch(sandbox_, host_name(2),
               "link set up0 up\naddr add 10.77.0.2/24 dev up0\naddr add fd77::2/64 dev up0 nodad\n"
               "route add 10.77.1.0/24 via 10.77.0.1\nroute add fd77:0:0:1::/64 via fd77::1\n"));
  return ip_batch(sandbox_, host_name(1),
                  "route add 10.77.2.0/24 via 10.77.0.2\nroute add fd77:0:0:2::/64 via fd77::2\n");
}

absl::StatusOr<Pod> Topology::add_pod(uint32_t node, const std::string& name) {
  const uint32_t number = 10 + pods_per_node_[node]++;
  Pod pod;
  pod.name = name;
  pod.node = node;
  pod.netns = netns_path("weft-it-" + name);
  pod.ip4 = *IpAddress::parse(str_cat("10.77.", node, ".", number));
  pod.ip6 = *IpAddress::parse(str_cat("fd77:0:0:", node, "::", number));
  ASSIGN_OR_RETURN(pod.cgroup, sandbox_.sub_cgroup("pod-" + name));
  const std::string netns = "weft-it-" + name;
  RETURN_IF_ERROR(ip_batch(sandbox_, "", str_cat("netns add ", netns, "\n")));
  RETURN_IF_ERROR(ip_batch(sandbox_, host_name(node),
                           str_cat("link add p", number, " type veth peer name eth0 netns ", netns, "\n",
                                   "link set p", number, " master br0 up\n")));
  RETURN_IF_ERROR(ip_batch(
      sandbox_, netns,
      str_cat("link set lo up\nlink set eth0 up\n", "addr add ", pod.ip4.to_string(), "/24 dev eth0\n",
              "addr add ", pod.ip6.to_string(), "/64 dev eth0 nodad\n", "route add default via 10.77.", node,
              ".1\n", "route add default via fd77:0:0:", node, "::1\n")));
  return pod;
}

absl::Status Topology::remove_pod(const Pod& pod) {
  return ip_batch(sandbox_, "", str_cat("netns del weft-it-", pod.name, "\n"));
}

}  // namespace weft::harness
