// Explainer: which way a request or a connection would go, and why. The proxy's own tables and matcher over
// resources that somebody else holds; the agent asks it for `weft trace` and `weft get routes --explain`.
// Once it is built any thread may ask; it keeps nothing of the data path and sends nothing.
#pragma once

#include <cstdint>
#include <map>
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
struct L4Route;
struct Route;
struct ServicePort;
struct ServiceSpec;
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
  std::string route_set;  // name of the resource; empty: the default route of the service
  uint32_t index = 0;     // in that RouteSet
  bool matched = false;
  std::vector<std::string> why_not;  // one for each of its matches
};

struct Explanation {
  std::string service;  // "shop/cart"; empty: none of the mesh
  SocketAddress dialled;
  std::string protocol;               // "HTTP", "HTTP2", "TCP", "auto"
  bool passes = false;                // bytes pass through to `dialled`, whatever they are
  std::vector<ExplainedRule> rules;   // up to the one that matched
  std::vector<std::string> actions;   // of that one, besides forwarding
  std::string outcome, outcome_text;  // of docs/outcomes.md, when it goes to no endpoint
  std::vector<ExplainedTarget> targets;
};

// Where the routes of a RouteSet lead, one list for each of its routes of a kind.
struct RouteSetTargets {
  using Lists = std::vector<std::vector<ExplainedTarget>>;
  bool reached = false;  // some client gets to one of them
  Lists http, tls, tcp;
};

class Explainer {
 public:
  struct Question {
    std::string from_uid;  // workload uid; empty or unknown: a client in `from_ns` without labels
    std::string to;        // "cart", "cart.shop:80", "shop/cart", "10.96.0.10:80"
    std::string method;    // empty: a TCP connection
    std::string target;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string tls;  // the server that a TLS client names; empty: its bytes are not known
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
  // Of the RouteSet with this resource name: for clients of its own namespace before others, where a port
  // decides for the first of its service. Nothing is reached when another RouteSet has its hosts.
  RouteSetTargets targets(const std::string& resource) const;

 private:
  struct Place;
  struct Reached;
  absl::StatusOr<Place> find(const Question& question, uint32_t source, std::string_view client_ns) const;
  const ServiceSpec* service_called(std::string_view host, const std::optional<IpAddress>& ip,
                                    std::string_view client_ns) const;
  const ServiceSpec* service_at(uint32_t source, const SocketAddress& dialled) const;
  absl::Status explain_undeclared(const Question& question, uint32_t source, Explanation* out) const;
  void explain_l4(const Question& question, uint32_t source, const ServicePort& port, Explanation* out) const;
  absl::Status explain_http(const Question& question, uint32_t source, Explanation* out) const;
  void explain_match(const Route& route, Explanation* out) const;
  ExplainedTarget target_of(const WeightedCluster& cluster, uint64_t total,
                            const SocketAddress& dialled) const;
  std::vector<ExplainedTarget> targets_of(const std::vector<WeightedCluster>& clusters,
                                          const SocketAddress& dialled) const;
  RouteSetTargets::Lists l4_targets(const std::vector<L4Route>& routes, RouteSetTargets::Lists lists) const;

  const std::unique_ptr<ResourceStore> store_;
  std::shared_ptr<const Snapshot> snapshot_;
  // By the name of the RouteSet.
  std::map<std::string, Reached> reached_;
};

}  // namespace weft::proxy
