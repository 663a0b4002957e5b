// What the cluster checks read by: requests, and fields of answers that may have any shape. Included by
// cluster_check.cc, cluster_rights.cc and agent_pods.cc only.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "control-plane/kubernetes/api_call.h"
#include "control-plane/kubernetes/cluster_check.h"

namespace weft::control_plane {

using Json = nlohmann::json;

struct JsonAnswer {
  long status = 0;      // 0: no answer
  std::string problem;  // empty: `value` is there
  Json value;

  bool ok() const { return problem.empty(); }
};

// Whether it may be the name of a namespace, which becomes part of paths.
bool is_label(const std::string& text);
// As the kubeconfig says, or as this pod.
absl::StatusOr<ApiAccess> access_of(const ClusterQuestion& question);

JsonAnswer ask(ApiClient& client, const std::string& path, const Json& post = nullptr);
// All pages of a list, object by object; the first answer that failed.
JsonAnswer each(ApiClient& client, const std::string& path, const std::function<void(const Json&)>& object);

// Fields by their path; of another type or missing: nullptr, "", 0.
const Json* find(const Json& value, std::initializer_list<std::string_view> path);
std::string text(const Json& value, std::initializer_list<std::string_view> path);
int64_t number(const Json& value, std::initializer_list<std::string_view> path);

// "a, b, c and 7 more"
std::string some_of(const std::vector<std::string>& names, size_t most = 5);

// Rows as they are found out.
struct ClusterReport {
  std::vector<ClusterCheck> rows;

  void good(const char* id, const char* category, std::string description);
  void bad(const char* id, const char* category, std::string description, std::string error, std::string hint,
           ClusterCheck::Result result = ClusterCheck::Result::kError);
};

// P-03: whether the caller may create what the chart has.
void check_own_rights(ApiClient& client, const std::string& ns, ClusterReport* report);
// M-04: whether the ClusterRole of who reads the cluster, "weft-agent" or "weft-control", grants what is
// read.
void check_reading_rights(ApiClient& client, const std::string& role, ClusterReport* report);

}  // namespace weft::control_plane
