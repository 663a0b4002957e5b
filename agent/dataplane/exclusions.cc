// Writes exclusion rows. Called by enrolment before the namespace row refers to them and after it stopped to.
#include "agent/dataplane/exclusions.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"

namespace weft::agent {
namespace {

constexpr uint32_t kWorkloadBits = 32;
constexpr uint32_t kMappedBits = 96;  // of ::ffff:0:0/96, where IPv4 lives

weft_excl_cidr_key cidr_key(uint32_t workload_id, const CidrExclusion& cidr) {
  weft_excl_cidr_key key{};
  key.prefixlen = kWorkloadBits + cidr.prefix_length + (cidr.ip.is_v4() ? kMappedBits : 0);
  key.workload_id = workload_id;
  std::memcpy(key.ip, cidr.ip.bytes.data(), sizeof(key.ip));
  // The trie hands keys back with the bits it was given: equal prefixes must be equal bytes.
  const uint32_t network_bits = key.prefixlen - kWorkloadBits;
  for (uint32_t bit = network_bits; bit < 128; ++bit)
    key.ip[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
  return key;
}

bool same(const weft_excl_cidr_key& a, const weft_excl_cidr_key& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

}  // namespace

absl::StatusOr<uint32_t> Exclusions::add(const NamespacePlan& plan) const {
  uint32_t flags = 0;
  for (const uint16_t port : plan.exclude_ports) {
    RETURN_IF_ERROR(ports_.put({.workload_id = plan.workload_id, .port = port}, 1));
    flags |= WEFT_NETNS_PORT_EXCL;
  }
  for (const CidrExclusion& cidr : plan.exclude_cidrs) {
    const uint32_t longest = cidr.ip.is_v4() ? 32 : 128;
    if (cidr.prefix_length > longest) {
      return absl::InvalidArgumentError(str_cat("excluded range ", cidr.ip.to_string(), "/",
                                                cidr.prefix_length, ": the prefix length must be 0 to ",
                                                longest));
    }
    RETURN_IF_ERROR(cidrs_.put(cidr_key(plan.workload_id, cidr), 1));
    flags |= WEFT_NETNS_CIDR_EXCL;
  }
  return flags;
}

void Exclusions::prune(uint32_t workload_id, const NamespacePlan& plan) const {
  for (const weft_excl_port_key& key : ports_.keys(WEFT_MAX_EXCLUSIONS)) {
    if (key.workload_id != workload_id) continue;
    if (plan.workload_id == workload_id &&
        std::ranges::find(plan.exclude_ports, key.port) != plan.exclude_ports.end())
      continue;
    ports_.erase(key);
  }
  for (const weft_excl_cidr_key& key : cidrs_.keys(WEFT_MAX_EXCLUSIONS)) {
    if (key.workload_id != workload_id) continue;
    const bool wanted = plan.workload_id == workload_id &&
                        std::ranges::any_of(plan.exclude_cidrs, [&](const CidrExclusion& cidr) {
                          return same(key, cidr_key(workload_id, cidr));
                        });
    if (!wanted) cidrs_.erase(key);
  }
}

std::vector<std::string> Exclusions::differences(const NamespacePlan& plan) const {
  std::vector<std::string> out;
  for (const uint16_t port : plan.exclude_ports) {
    if (!ports_.find({.workload_id = plan.workload_id, .port = port}))
      out.push_back(str_cat("excluded port ", port, " is missing in m_excl_port"));
  }
  for (const CidrExclusion& cidr : plan.exclude_cidrs) {
    const weft_excl_cidr_key wanted = cidr_key(plan.workload_id, cidr);
    // A look-up in a trie finds shorter prefixes too: only the keys tell.
    if (std::ranges::none_of(cidrs_.keys(WEFT_MAX_EXCLUSIONS),
                             [&wanted](const weft_excl_cidr_key& key) { return same(key, wanted); }))
      out.push_back(str_cat("excluded range ", cidr.ip.to_string(), "/", cidr.prefix_length,
                            " is missing in m_excl_cidr"));
  }
  for (const weft_excl_port_key& key : ports_.keys(WEFT_MAX_EXCLUSIONS)) {
    if (key.workload_id == plan.workload_id &&
        std::ranges::find(plan.exclude_ports, key.port) == plan.exclude_ports.end())
      out.push_back(str_cat("port ", key.port, " is excluded, but nobody asks for it"));
  }
  return out;
}

}  // namespace weft::agent
