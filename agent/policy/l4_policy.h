// What authorization policies say about one TCP connection, with Istio's semantics: DENY first, then at least
// one ALLOW policy must match if there are any. Pure functions over istio.security messages, for any thread;
// nothing here enforces, logs or keeps state.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/address.h"
#include "proto/istio/security.pb.h"
#include "proto/istio/workload.pb.h"

namespace weft::agent {

// Who opened a connection: spiffe://<trust_domain>/ns/<ns>/sa/<service_account>.
struct PeerIdentity {
  std::string trust_domain;
  std::string ns;
  std::string service_account;

  // "<trust_domain>/ns/<ns>/sa/<service_account>", the form that policies name.
  std::string principal() const;
  bool operator==(const PeerIdentity&) const = default;
};

// The identity that a workload of the mesh has; defaults are cluster.local and default.
PeerIdentity identity_of(const istio::workload::Workload& workload);

// A connection as the server's node sees it.
struct PolicyConnection {
  IpAddress source;
  // Absent: the source is no workload of the mesh, or proved nothing.
  std::optional<PeerIdentity> identity;
  // Address and port of the workload, not of a service in front of it.
  SocketAddress destination;
};

struct Verdict {
  enum class Reason {
    kNoAllowPolicy,  // nothing denies and no ALLOW policy asks for a match
    kAllowed,        // an ALLOW policy matches
    kDenied,         // a DENY policy matches
    kNotAllowed,     // there are ALLOW policies and none matches
  };
  Reason reason = Reason::kNoAllowPolicy;
  // "<namespace>/<name>" of the policy that matched; for kNotAllowed the first ALLOW policy, whose presence
  // denies what is not allowed; empty for kNoAllowPolicy.
  std::string policy;

  bool allowed() const { return reason == Reason::kNoAllowPolicy || reason == Reason::kAllowed; }
  bool operator==(const Verdict&) const = default;
};

// The name of the extension that makes a policy one of AUDIT. The message itself says DENY and dry run, so
// that who does not know the extension enforces nothing; it matches as a DENY policy does.
inline constexpr char kAuditExtension[] = "weft.dev/audit";
bool is_audit(const istio::security::Authorization& policy);

// The name of the extension that makes a policy one of CUSTOM (weft.mesh.v1.CustomAction): what it matches is
// for a provider to allow. The message itself says DENY: so it is where nobody can ask.
inline constexpr char kCustomExtension[] = "weft.dev/custom";
bool is_custom(const istio::security::Authorization& policy);
// Whom it asks; empty when it is none of CUSTOM, or cannot be read.
std::string provider_of(const istio::security::Authorization& policy);

// Whether the name is that of a PeerAuthentication's denial whose workloads are reached by tunnels from pods
// of their own node too, where both take them. No object has a name with such an ending: it is no DNS name.
inline bool encrypts_same_node(std::string_view policy) { return policy.ends_with("_same_node"); }

// The name of the extension that says which manifest a policy comes from (weft.mesh.v1.Origin).
inline constexpr char kOriginExtension[] = "weft.dev/origin";

// Every policy by its resource name, "<namespace>/<name>".
using Authorizations = std::map<std::string, istio::security::Authorization>;

struct SelectedPolicies {
  // In order of their names; each points into the map it was selected from.
  std::vector<const istio::security::Authorization*> policies;
  // Names in the workload's authorization_policies that the map does not have. Istio goes on without them,
  // which may leave the workload open: the caller should say so.
  std::vector<std::string> missing;
};

// The policies that a connection to this workload must satisfy: those it names, those of its namespace and
// the global ones.
SelectedPolicies select_policies(const istio::workload::Workload& workload, const Authorizations& all);

// The verdict of these policies, each of which passed validate_policy(), when nobody reads the requests of
// the connection: see can_hold(). Dry-run policies decide nothing. When several policies match, the first in
// the order given is named.
Verdict evaluate(std::span<const istio::security::Authorization* const> policies,
                 const PolicyConnection& connection);

// InvalidArgument, naming rule and term, when part of a policy cannot be read: an unknown scope or action, a
// range that is none, a port above 65535, a text to compare without its kind. Leaving such a term out would
// make the policy say something else.
absl::Status validate_policy(const istio::security::Authorization& policy);

// The parts of one match, each of which must hold; an absent list holds. For the compilation into kernel
// tables, which decides each part by itself.
bool has_terms(const istio::security::Match& match);  // false: nothing here that L4 knows
// Terms that only a reader of the requests decides (weft.mesh.v1.HttpTerms).
bool has_request_terms(const istio::security::Match& match);
bool has_request_terms(const istio::security::Authorization& policy);
// In force, and only requests say what it decides: whom it selects is reached by tunnels from pods of its own
// node too, where both take them.
bool asks_about_requests(const istio::security::Authorization& policy);
// False: of a policy with this action the match never holds for a connection whose requests nobody reads. It
// has no terms at all, or it would allow by what is not known; what would deny so denies by its other parts.
bool can_hold(const istio::security::Match& match, istio::security::Action action);
// Every part that L4 knows holds; true without any.
bool connection_holds(const istio::security::Match& match, const PolicyConnection& connection);
bool port_holds(const istio::security::Match& match, uint16_t port);
bool destination_holds(const istio::security::Match& match, const IpAddress& address);
bool identity_holds(const istio::security::Match& match, const std::optional<PeerIdentity>& identity);

// Whether the rule compares addresses and ports only, which a kernel knows of every connection. All other
// terms need the identity of the source.
bool compares_only_addresses(const istio::security::Rule& rule);

}  // namespace weft::agent
