// Explainer: which way a request or a connection would go, and why. The proxy's own tables and matcher over
// resources that somebody else holds; the agent asks it for `weft trace` and `weft get routes --explain`. One
// thread at a time; it keeps nothing of the data path and sends nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/address.h"

namespace weft::proxy {

class ResourceStore;
class Snapshot;
struct L4Host;
struct Route;
struct VirtualHost;
struct WeightedCluster;

struct ExplainedEndpoint {
  std::string address;   // "10.1.0.11:8080"
  std::string workload;  // "shop/cart-1"
  double share = 0;      // per cent of what the rule takes, as far as weights say
};

struct ExplainedTarget {
  std::string host, subset;
  uint16_t port = 0;
  double share = 0;
  std::string load_balancer;
  std::vector<ExplainedEndpoint> endpoints;
  std::string problem;  // why there are none; empty: there are
};

// A rule that was asked.
struct ExplainedRule {
  std::string route_set;  // "shop/cart"; empty: the default route of the service
  uint32_t index = 0;     // in that RouteSet
  bool matched = false;
  std::vector<std::string> why_not;  // one for each of its matches
};

struct Explanation {
  std::string service;  // "shop/cart"; empty: none of the mesh
  SocketAddress dialled;
  std::string protocol;               // "HTTP", "HTTP2", "TCP", "auto"
  bool direct = false;                // the kernel picks an endpoint, the proxy sees nothing
  std::vector<ExplainedRule> rules;   // up to the one that matched
  std::vector<std::string> actions;   // of that one, besides forwarding
  std::string outcome, outcome_text;  // of docs/outcomes.md, when it goes to no endpoint
  std::vector<ExplainedTarget> targets;
};

class Explainer {
 public:
  struct Question {
    std::string from_uid;  // workload uid; empty or unknown: a client in `from_ns` without labels
    std::string to;        // "cart", "cart.shop:80", "shop/cart", "10.96.0.10:80"
    std::string method;    // empty: a TCP connection
    std::string target;
    std::vector<std::pair<std::string, std::string>> headers;
  };

  Explainer();
  ~Explainer();
  Explainer(const Explainer&) = delete;
  Explainer& operator=(const Explainer&) = delete;

  // A resource of delta ADS: its type URL, name and serialised message. The error is what the proxy would
  // refuse it with; it is left out then.
  absl::Status add(std::string_view type_url, std::string_view name, std::string_view body);
  // After the last add().
  void build();

  // Errors: nothing of that name (kNotFound), or a question that cannot be read (kInvalidArgument), each with
  // the next command.
  absl::StatusOr<Explanation> explain(const Question& question) const;
  // Where the routes of a RouteSet lead, one list for each of its HTTP routes, for clients of its own
  // namespace; empty when no client gets to it, because another RouteSet has its hosts.
  std::vector<std::vector<ExplainedTarget>> targets(std::string_view ns, std::string_view name) const;

 private:
  struct Place;
  absl::StatusOr<Place> find(const Question& question, std::string_view client_ns) const;
  void explain_l4(const L4Host& host, uint32_t source, Explanation* out) const;
  absl::Status explain_http(const Question& question, uint32_t source, Explanation* out) const;
  ExplainedTarget target_of(const WeightedCluster& cluster, uint64_t total) const;
  std::vector<ExplainedTarget> targets_of(const Route& route) const;

  const std::unique_ptr<ResourceStore> store_;
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace weft::proxy
