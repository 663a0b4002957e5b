// A workload's identity as certificates carry it: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT,
// exactly these segments and nothing else. Used by whoever issues certificates and whoever checks them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weft {

// What a workload resource means when it names no trust domain.
inline constexpr char kDefaultTrustDomain[] = "cluster.local";

struct SpiffeId {
  std::string trust_domain;
  std::string ns;
  std::string account;

  // Nullopt unless the text is such a URI: no query, port, user, fragment, percent code or empty segment.
  static std::optional<SpiffeId> parse(std::string_view uri);
  std::string to_string() const;

  bool operator==(const SpiffeId&) const = default;
  auto operator<=>(const SpiffeId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const SpiffeId& id) {
    return H::combine(std::move(h), id.trust_domain, id.ns, id.account);
  }
};

}  // namespace weft
