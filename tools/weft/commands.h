// The commands behind `weft`, one function each: ask the agent, print in the wanted form, return the exit
// code. Called by cli.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/weft/cli.h"
#include "tools/weft/output.h"

namespace grpc {
class Channel;
}

namespace weft::cli {

struct NodeAnswer;

struct CanaryFlags {
  std::string file, route, host, to;
  std::string steps = "5,25,50,75,100";
  std::string interval = "60s";
  std::string max_error_rate = "1%";
  std::string max_p99;
  uint64_t min_requests = 100;
  std::string patience;
};

struct ClusterFlags {
  bool asked = false;
  std::string kubeconfig, context;
  std::string node;                            // its agent alone
  std::string weft_namespace = "weft-system";  // where agents are
  bool run_dir_given = false;                  // by who calls: no cluster is meant
  std::string chart;
  std::vector<std::string> values, sets;
  std::string timeout = "5m";
  bool skip_checks = false;
};

struct JoinFlags {
  std::string folder;  // empty: TokenStore's default
  std::string node;
  std::string life = "1h";
};

struct Flags {
  std::string run_dir = "/run/weft";
  std::string ns;
  bool all_namespaces = false;
  std::string output = "table";
  std::string colour = "auto";
  bool pre = false;
  std::string name;
  bool follow = false;
  std::string from, to;
  bool errors_only = false;
  uint32_t limit = 100;
  std::string workload, netns;
  std::string cgroup, pin_root;
  bool dry_run = false;
  std::vector<std::string> paths;
  std::string fail_on = "error";
  std::string shell;
  bool explain = false;
  std::string http;
  std::string tls;
  std::string claims;
  std::vector<std::string> headers;
  bool all = false, root = false;
  std::string duration = "30s";
  CanaryFlags canary;
  ClusterFlags cluster;
  JoinFlags join;
  // To the agent of a node elsewhere; null: this node's, on its socket.
  std::shared_ptr<grpc::Channel> channel;
  // Where the result goes; null: it is printed.
  NodeAnswer* answer = nullptr;
};

// Prints "error: ..." and "next: ..." to err; the status's own "; next: ..." wins over `next`. Returns the
// exit code.
int report(const absl::Status& status, const std::string& next, Environment& env);

int status(const Flags& flags, Environment& env);
int check(const Flags& flags, Environment& env);
int get_services(const Flags& flags, Environment& env);
int get_endpoints(const Flags& flags, Environment& env);
int get_workloads(const Flags& flags, Environment& env);
int get_routes(const Flags& flags, Environment& env);
// kFindings when the request or connection would not arrive.
int trace(const Flags& flags, Environment& env);
// kRuntimeError when it was rolled back, or interrupted.
int canary_run(const Flags& flags, Environment& env);
int canary_status(const Flags& flags, Environment& env);
int canary_rollback(const Flags& flags, Environment& env);
int observe(const Flags& flags, Environment& env);
int cert_list(const Flags& flags, Environment& env);
// Of the identity in flags.name: the whole of it, or NAMESPACE/sa/SERVICE-ACCOUNT.
int cert_show(const Flags& flags, Environment& env);
// Of flags.name (as above), flags.all or flags.root: one of them.
int cert_rotate(const Flags& flags, Environment& env);
// kFindings when it would be denied.
int authz_check(const Flags& flags, Environment& env);
int authz_explain(const Flags& flags, Environment& env);
// kFindings when something would be treated in another way.
int authz_shadow(const Flags& flags, Environment& env);
int edges(const Flags& flags, Environment& env);
int conns(const Flags& flags, Environment& env);
int enroll(const Flags& flags, Environment& env);
int unenroll(const Flags& flags, Environment& env);
int analyze(const Flags& flags, Environment& env);
int bpf_progs(const Flags& flags, Environment& env);
int bpf_maps(const Flags& flags, Environment& env);
int bpf_map_dump(const Flags& flags, Environment& env);
int bpf_stats(const Flags& flags, Environment& env);
// kFindings when something drifted.
int diff(const Flags& flags, Environment& env);
// These three are for root, or who owns the folder, on the machine of weft-control.
int join_token_create(const Flags& flags, Environment& env);
int join_token_list(const Flags& flags, Environment& env);
int join_token_remove(const Flags& flags, Environment& env);
int version(const Flags& flags, Environment& env);

}  // namespace weft::cli
