// Authorization policies of a workload of this node, as the proxy judges what comes in to it: first the
// connection, by the evaluator that the agent has for the kernel (agent/policy/l4_policy.h), then, where that
// leaves something open, each request. CUSTOM goes before DENY, and that before ALLOW; dry-run and AUDIT
// policies decide nothing: what they would say is shadow()'s.
//
//   PolicySet (of the workload) -> ConnectionPolicy (of one connection to it) -> judge() (of one request)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/policy/l4_policy.h"
#include "base/address.h"
#include "userspace-proxy/policy/http_terms.h"

namespace weft::proxy {

using AuthorizationPtr = std::shared_ptr<const istio::security::Authorization>;

// In place of the name of a policy that the workload names and that is not known.
inline constexpr char kUnknownPolicy[] = "unknown policy";

// InvalidArgument, naming the rule: terms about requests that this version cannot read.
absl::Status validate_request_terms(const istio::security::Authorization& policy);

// Immutable, any thread. Holds what compiling each policy's terms gave.
class PolicySet {
 public:
  // One that is null denies everything; terms that cannot be read never allow, and deny what the rest of
  // their match says.
  explicit PolicySet(std::span<const AuthorizationPtr> policies);

  // A policy of the kind that decides nothing is among them.
  bool has_dry_run() const { return has_dry_run_; }
  bool has_audit() const { return has_audit_; }

 private:
  friend class ConnectionPolicy;

  struct Policy {
    AuthorizationPtr message;
    std::string name;
    bool audit = false;
    bool custom = false;
    std::string provider;  // of CUSTOM
    // Of each match, in the order in which they stand in the message; null: it asks nothing of requests, or
    // cannot be read.
    std::vector<std::unique_ptr<const HttpTerms>> terms;
  };
  std::vector<Policy> policies_;
  bool complete_ = true;
  bool has_dry_run_ = false, has_audit_ = false;
};

class ShadowPolicy;

// What is left to decide of a workload's policies once a connection's facts are known.
class ConnectionPolicy {
 public:
  enum class Decision : uint8_t {
    kAllowed,  // whatever is said on it
    kDenied,   // whatever is said on it
    kDepends,  // on the server name that its TLS asks for, or on each request; see judge_bytes() for the rest
  };
  // Views live as long as the set.
  struct Verdict {
    bool allowed = true;
    // "<namespace>/<name>": the policy that denies, or that would have to allow. Empty when allowed.
    std::string_view policy;
  };

  // Which policies of a set are asked.
  enum class View : uint8_t {
    kEnforced,
    kAsIfEnforced,  // dry-run policies too
    kAudit          // those of AUDIT alone, each as if it denied
  };

  // Denies everything.
  ConnectionPolicy() = default;
  ConnectionPolicy(std::shared_ptr<const PolicySet> set, const agent::PolicyConnection& connection,
                   View view = View::kEnforced);

  Decision decision() const { return decision_; }
  // Of kDenied, and of kDepends for what is no HTTP and names no server.
  std::string_view denied_by() const { return denied_by_; }
  // Whom a request has to be allowed by before judge() counts.
  struct Asked {
    std::string_view policy, provider;
  };
  // Some request has to be. False where all are denied.
  bool may_ask() const { return decision_ != Decision::kDenied && !custom_.empty(); }
  // Those of CUSTOM that select the request, in order of their names; each provider once.
  void asked(const JudgedRequest& request, std::vector<Asked>* out) const;
  // "spiffe://…", where requests may have to be asked about; empty: nobody is proved.
  const std::string& peer() const { return peer_; }
  // Of a request, by DENY and ALLOW; allocates nothing.
  Verdict judge(const JudgedRequest& request) const;
  // Of what is no HTTP, or is not read: nobody can be asked about it, and what CUSTOM selects is denied. The
  // server name is what its ClientHello asks for, empty when there is none; nullopt: nobody has looked.
  Verdict judge_bytes(std::optional<std::string_view> server_name = std::nullopt) const;
  // Of kDepends: requests, or the server name, can change the verdict.
  bool asks_requests() const;
  bool asks_server_name() const;
  // What the policies that decide nothing say; null: there are none. Of kEnforced only.
  const ShadowPolicy* shadow() const { return shadow_.get(); }

 private:
  struct Clause {
    uint32_t first = 0, count = 0;  // of alternatives_, any of which must hold
  };
  struct Rule {
    uint32_t policy = 0;  // of the set
    bool deny = false;
    uint32_t first = 0, count = 0;  // of clauses_, all of which must hold
  };
  enum class Left : uint8_t { kNever, kAlways, kRequests };

  Left reduce(const PolicySet::Policy& policy, uint32_t index, const agent::PolicyConnection& connection);
  // Those of CUSTOM; the first that may match, or null.
  const PolicySet::Policy* reduce_custom(const agent::PolicyConnection& connection);
  // All of the rule's clauses hold: each by any of its alternatives, of which `hold` is asked.
  template <typename Hold>
  bool holds_by(const Rule& rule, Hold hold) const;
  bool holds(const Rule& rule, const JudgedRequest& request) const;
  template <typename Asks>
  bool any_asks(Asks asks) const;

  std::shared_ptr<const PolicySet> set_;
  std::shared_ptr<const ShadowPolicy> shadow_;
  Decision decision_ = Decision::kDenied;
  bool allowed_otherwise_ = false;  // by a policy that asks nothing of requests, or because none allows
  std::string_view denied_by_ = kUnknownPolicy;
  std::string_view would_allow_;  // the first of ALLOW
  std::vector<Rule> custom_;
  std::string peer_;
  std::vector<Rule> rules_;  // those that deny first
  std::vector<Clause> clauses_;
  std::vector<const HttpTerms*> alternatives_;
};

// The policies that decide nothing, about one connection.
class ShadowPolicy {
 public:
  ShadowPolicy(const std::shared_ptr<const PolicySet>& set, const agent::PolicyConnection& connection);

  struct Report {
    bool dry_run = false;  // there are such policies, and with them in force
    bool allowed = true;   // it would be allowed
    std::string_view denied_by;
    std::string_view audited_by;  // empty: no policy of AUDIT matches
  };
  // Some request, or the server name, could change what is said.
  bool depends() const;
  bool asks_server_name() const;
  // Of a request that is let in; allocates nothing.
  Report judge(const JudgedRequest& request) const;
  Report judge_bytes(std::optional<std::string_view> server_name = std::nullopt) const;

 private:
  const bool dry_run_, audit_;
  ConnectionPolicy as_if_enforced_, audited_;
};

}  // namespace weft::proxy
