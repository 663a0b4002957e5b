// What would become of traffic if the AuthorizationPolicies of a manifest were in force: each request and
// connection that was seen is judged once more, by the proxy's own evaluator, with them beside the policies
// that are. What was seen does not tell everything that a policy may ask (headers, tokens); where that could
// decide, the answer is that it depends. Nothing here enforces anything. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/mesh/model.h"
#include "base/address.h"
#include "control-plane/policy_manifest.h"

namespace weft::agent {

// One that came to a workload of the mesh.
struct SeenTraffic {
  std::string client;  // "shop/web"; empty: nobody that the mesh knows
  IpAddress source;
  std::string server;  // "shop/cart"
  SocketAddress destination;
  // Of a request; empty: a connection whose requests, if it had any, nobody read.
  std::string method, path, authority;
  // It was answered as what is denied. Counts only where what was seen does not tell whether it was.
  bool refused = false;
};

class PolicyTrial {
 public:
  static constexpr size_t kMaxRows = 1'000;

  enum class Verdict : uint8_t { kAllowed, kDenied, kDepends };
  // What would be different, and how often it was seen.
  struct Row {
    std::string client;   // its identity; its name or address where nothing proves one
    std::string server;   // "shop/cart:8080"
    std::string request;  // "GET /items/*"; empty: a connection
    bool denied = false;  // now
    Verdict then = Verdict::kAllowed;
    std::string policy;  // "shop/strict"; empty: no policy would ask for more
    int rule = -1;       // of the policy; -1: none of its rules
    std::string file;    // of that policy's manifest, and the line it begins at
    uint32_t line = 0;
    uint64_t count = 0;
  };

  explicit PolicyTrial(std::vector<control_plane::WrittenPolicy> policies);

  // Of traffic to a server that none of the policies is for, nothing changes.
  void see(const MeshModel& model, const SeenTraffic& traffic);

  uint64_t judged() const { return judged_; }
  uint64_t unchanged() const { return unchanged_; }
  // The server is no workload of the mesh.
  uint64_t not_judged() const { return not_judged_; }
  // More different rows than there is room for.
  uint64_t left_out() const { return left_out_; }
  // In the order of their texts.
  std::vector<Row> rows() const;

 private:
  struct Answer {
    Verdict now = Verdict::kAllowed;  // never kDepends
    Row row;                          // without server, request and count
  };

  bool is_for(const control_plane::WrittenPolicy& policy, const istio::workload::Workload& server) const;
  std::optional<Answer> ask(const MeshModel& model, const SeenTraffic& traffic,
                            const istio::workload::Workload& server) const;

  std::vector<control_plane::WrittenPolicy> policies_;
  std::set<std::string> names_;  // "<namespace>/<name>" of them
  std::map<std::string, Row> rows_;
  uint64_t judged_ = 0, unchanged_ = 0, not_judged_ = 0, left_out_ = 0;
};

// "/items/17/parts?x" as "/items/*": the first segment, and that there is more. Many paths are few rows.
std::string path_class(std::string_view path);

// The policy without what the traffic does not tell (`requests`: all terms about requests; else those about
// headers, forwarded addresses and tokens), once as if all of it held, once as if none did.
istio::security::Authorization assuming(const istio::security::Authorization& policy, bool requests,
                                        bool holds);

}  // namespace weft::agent
