// See agent_pods.h.
#include "control-plane/kubernetes/agent_pods.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/cluster_reader.h"

namespace weft::control_plane {
namespace {

// Names of the chart (helm/weft/templates/agent-daemonset.yaml).
constexpr char kContainer[] = "agent";
constexpr char kSelector[] = "app.kubernetes.io%2Fname%3Dweft%2Capp.kubernetes.io%2Fcomponent%3Dagent";
constexpr char kRunDirFlag[] = "--run-dir=";

std::string run_dir_of(const Json& pod) {
  const Json* const containers = find(pod, {"spec", "containers"});
  if (containers == nullptr || !containers->is_array()) return "";
  for (const Json& container : *containers) {
    const Json* const args = find(container, {"args"});
    if (text(container, {"name"}) != kContainer || args == nullptr || !args->is_array()) continue;
    for (const Json& arg : *args) {
      if (arg.is_string() && arg.get_ref<const std::string&>().starts_with(kRunDirFlag))
        return arg.get_ref<const std::string&>().substr(sizeof(kRunDirFlag) - 1);
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<std::vector<AgentPod>> list_agent_pods(const ClusterQuestion& question) {
  if (!is_label(question.ns))
    return absl::InvalidArgumentError(str_cat("'", question.ns, "' is no name of a namespace"));
  ASSIGN_OR_RETURN(const ApiAccess access, access_of(question));
  ASSIGN_OR_RETURN(const std::unique_ptr<ApiClient> client, ApiClient::create(access, {}));
  std::vector<AgentPod> out;
  const std::string path =
      str_cat("/api/v1/namespaces/", question.ns, "/pods?limit=500&labelSelector=", kSelector);
  const JsonAnswer end = each(*client, path, [&](const Json& pod) {
    if (text(pod, {"status", "phase"}) != "Running") return;
    out.push_back({.node = text(pod, {"spec", "nodeName"}),
                   .ns = question.ns,
                   .name = text(pod, {"metadata", "name"}),
                   .run_dir = run_dir_of(pod)});
  });
  if (end.status == 401 || end.status == 403)
    return absl::PermissionDeniedError(str_cat(
        "the API server does not let you list the agents (", end.problem,
        "); next: have the verb list of pods granted in namespace ", question.ns, " (docs/kubernetes.md)"));
  if (!end.ok()) return absl::UnavailableError(str_cat(access.server, ": ", end.problem));
  if (out.empty())
    return absl::NotFoundError(str_cat("no agent of Weft runs in namespace ", question.ns,
                                       "; next: weft check --cluster -n ", question.ns,
                                       ", or name its namespace with --weft-namespace"));
  std::sort(out.begin(), out.end(), [](const AgentPod& a, const AgentPod& b) {
    return std::tie(a.node, a.name) < std::tie(b.node, b.name);
  });
  return out;
}

absl::StatusOr<std::unique_ptr<PodStream>> reach_agent(const ClusterQuestion& question, const AgentPod& pod) {
  ASSIGN_OR_RETURN(const ApiAccess access, access_of(question));
  PodCommand command{.ns = pod.ns, .pod = pod.name, .container = kContainer, .words = {"weft"}};
  if (!pod.run_dir.empty()) command.words.insert(command.words.end(), {"--run-dir", pod.run_dir});
  command.words.emplace_back("__relay");
  return PodStream::open(access, command);
}

}  // namespace weft::control_plane
