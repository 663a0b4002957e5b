// See cluster_check.h. One function for each row, in the order in which they are told.
#include "control-plane/kubernetes/cluster_check.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/api_access.h"
#include "control-plane/kubernetes/cluster_reader.h"
#include "control-plane/kubernetes/kinds.h"
#include "control-plane/kubernetes/server_text.h"

namespace weft::control_plane {
namespace {

using Result = ClusterCheck::Result;

constexpr char kCluster[] = "cluster";
constexpr char kInstallation[] = "installation";
constexpr char kAgentRow[] = "M-01";
// The chart's kubeVersion.
constexpr int64_t kOldestMinor = 30;
constexpr std::pair<int64_t, int64_t> kOldestKernel = {5, 15};
constexpr char kPrivilegedLabel[] = "pod-security.kubernetes.io/enforce";

// "6.8.0-49-generic" → {6, 8}
std::pair<int64_t, int64_t> numbers_of(const std::string& release) {
  char* rest = nullptr;
  const int64_t major = std::strtol(release.c_str(), &rest, 10);
  return {major, *rest == '.' ? std::strtol(rest + 1, nullptr, 10) : 0};
}

bool check_server(ApiClient& client, const std::string& server, ClusterReport* report) {
  const JsonAnswer version = ask(client, "/version");
  if (!version.ok()) {
    report->bad("P-01", kCluster, str_cat("the API server at ", server, " answers"), version.problem,
                "kubectl get --raw /version, with the same kubeconfig");
    return false;
  }
  report->good("P-01", kCluster, str_cat("the API server at ", server, " answers"));
  const std::string name = server_text(text(version.value, {"gitVersion"}), 64);
  const std::string description = str_cat("Kubernetes ", name, " is 1.", kOldestMinor, " or newer");
  const auto [major, minor] = numbers_of(name.starts_with('v') ? name.substr(1) : name);
  if (major > 1 || (major == 1 && minor >= kOldestMinor))
    report->good("P-02", kCluster, description);
  else
    report->bad("P-02", kCluster, description, "older: its kubelets do not know all that the pods are told",
                "upgrade the cluster");
  return true;
}

// Names of the resources that the server has in a version of a group.
std::set<std::string> resources_of(ApiClient& client, const std::string& api_version) {
  std::set<std::string> out;
  const JsonAnswer answer = ask(client, str_cat("/apis/", api_version));
  const Json* const resources = answer.ok() ? find(answer.value, {"resources"}) : nullptr;
  if (resources == nullptr || !resources->is_array()) return out;
  for (const Json& resource : *resources) out.insert(text(resource, {"name"}));
  return out;
}

void check_definitions(ApiClient& client, ClusterReport* report) {
  std::map<std::string, std::set<std::string>> known;
  std::map<std::string, std::vector<std::string>> missing;
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (!kind.may_be_missing) continue;
    bool there = false;
    for (size_t version = 0; version < kind.versions.size() && !there; ++version) {
      const std::string name = kind.api_version(version);
      if (!known.contains(name)) known[name] = resources_of(client, name);
      there = known[name].contains(std::string(kind.plural));
    }
    if (!there)
      missing[kind.group.ends_with("istio.io") ? "Istio" : "Gateway API"].push_back(kind.resource());
  }
  for (const char* owner : {"Istio", "Gateway API"}) {
    const std::string description = str_cat("the resource definitions of ", owner);
    if (!missing.contains(owner)) {
      report->good("P-04", kCluster, description);
      continue;
    }
    report->bad(
        "P-04", kCluster, description, str_cat("missing: ", some_of(missing[owner], 4)),
        owner == std::string("Istio")
            ? "install Istio's chart `base`, which holds only them; without them Weft runs, and reads none"
            : "kubectl apply the standard-install.yaml of a release of the Gateway API; without them Weft "
              "runs, and reads none",
        Result::kWarning);
  }
}

void check_nodes(ApiClient& client, ClusterReport* report) {
  size_t nodes = 0;
  std::vector<std::string> old;
  const JsonAnswer end = each(client, "/api/v1/nodes", [&](const Json& node) {
    if (text(node, {"status", "nodeInfo", "operatingSystem"}) != "linux") return;
    ++nodes;
    const std::string kernel = text(node, {"status", "nodeInfo", "kernelVersion"});
    if (numbers_of(kernel) < kOldestKernel)
      old.push_back(
          str_cat(server_text(text(node, {"metadata", "name"}), 64), " (", server_text(kernel, 32), ")"));
  });
  const std::string description = str_cat("the kernels of all nodes are 5.15 or newer");
  if (!end.ok())
    return report->bad("P-05", kCluster, description, str_cat("not known: ", end.problem),
                       "kubectl get nodes", Result::kWarning);
  if (nodes == 0)
    return report->bad("P-05", kCluster, description, "there is no node with Linux",
                       "kubectl get nodes -o wide");
  if (old.empty()) return report->good("P-05", kCluster, str_cat(description, " (", nodes, ")"));
  report->bad("P-05", kCluster, description, str_cat("older: ", some_of(old)),
              "give them a newer kernel, or keep the agent away with agent.nodeSelector");
}

void check_namespace(ApiClient& client, const std::string& ns, ClusterReport* report) {
  const std::string description = str_cat("namespace ", ns, " lets the agent use the node");
  const JsonAnswer found = ask(client, str_cat("/api/v1/namespaces/", ns));
  if (found.status == 404) return report->good("P-06", kCluster, str_cat("namespace ", ns, " can be made"));
  if (!found.ok())
    return report->bad("P-06", kCluster, description, str_cat("not known: ", found.problem),
                       str_cat("kubectl get namespace ", ns), Result::kWarning);
  const std::string enforced = text(found.value, {"metadata", "labels", kPrivilegedLabel});
  if (enforced.empty() || enforced == "privileged") return report->good("P-06", kCluster, description);
  report->bad("P-06", kCluster, description,
              str_cat("Pod Security there is ", server_text(enforced, 32), ", which forbids host paths"),
              str_cat("kubectl label --overwrite namespace ", ns, " ", kPrivilegedLabel, "=privileged"));
}

// Pods of Weft; more of the selector may follow.
std::string pods_path(const std::string& ns) {
  return str_cat("/api/v1/namespaces/", ns, "/pods?labelSelector=app.kubernetes.io%2Fname%3Dweft");
}

// A pod with a container that is not ready.
struct Unready {
  std::string name;     // empty: there is none
  std::string text;     // "weft-agent-x on n1: CrashLoopBackOff: …", for people
  bool failed = false;  // it will not become ready by itself
};

Unready unready_of(const Json& pod, const Json& status) {
  const std::string waits = text(status, {"state", "waiting", "reason"});
  std::string said = text(status, {"lastState", "terminated", "message"});
  // One that runs may have been started anew long ago, and become ready by itself.
  const bool ended =
      find(status, {"lastState", "terminated"}) != nullptr && find(status, {"state", "running"}) == nullptr;
  if (said.empty()) said = text(status, {"state", "waiting", "message"});
  Unready out{.name = server_text(text(pod, {"metadata", "name"})), .text = {}};
  out.failed = ended || (!waits.empty() && waits != "ContainerCreating" && waits != "PodInitializing");
  out.text = server_text(str_cat(out.name, " on ", text(pod, {"spec", "nodeName"}), ": ",
                                 waits.empty() ? "not ready" : waits, said.empty() ? "" : ": ", said));
  return out;
}

// The first one that has failed, else the first.
Unready first_unready(ApiClient& client, const std::string& ns, const std::string& component) {
  Unready out;
  each(client, str_cat(pods_path(ns), "%2Capp.kubernetes.io%2Fcomponent%3D", component),
       [&out](const Json& pod) {
         const Json* const statuses = find(pod, {"status", "containerStatuses"});
         if (statuses == nullptr || !statuses->is_array()) return;
         for (const Json& status : *statuses) {
           const Json* const ready = find(status, {"ready"});
           if (ready != nullptr && *ready == true) continue;
           Unready found = unready_of(pod, status);
           if (out.name.empty() || (found.failed && !out.failed)) out = std::move(found);
         }
       });
  return out;
}

std::string why_not_ready(ApiClient& client, const std::string& ns, const std::string& component) {
  return first_unready(client, ns, component).text;
}

// A new version that does not start stays on the nodes that it reached first: what goes on, and the way back.
void report_unready(ApiClient& client, const char* id, const std::string& ns, const std::string& component,
                    const std::string& description, const Json& daemonset, ClusterReport* report) {
  const int64_t wanted = number(daemonset, {"status", "desiredNumberScheduled"});
  const int64_t ready = number(daemonset, {"status", "numberReady"});
  const int64_t updated = number(daemonset, {"status", "updatedNumberScheduled"});
  const Unready pod = first_unready(client, ns, component);
  std::string error = str_cat(ready, " of ", wanted, " are ready", pod.text.empty() ? "" : "; ", pod.text);
  const auto is_bad = [](const ClusterCheck& row) {
    return row.id == kAgentRow && row.result == Result::kError;
  };
  if (std::string_view(id) != kAgentRow && !pod.failed &&
      std::any_of(report->rows.begin(), report->rows.end(), is_bad))
    return report->bad(
        id, kInstallation, description, error,
        str_cat("mend ", kAgentRow, " first: a proxy becomes ready when the agent of its node is"));
  if (!pod.failed || updated >= wanted)
    return report->bad(
        id, kInstallation, description, error,
        str_cat("kubectl -n ", ns, " describe pods -l app.kubernetes.io/component=", component));
  str_append(&error, "; the rollout has stopped there: ", wanted - updated,
             " nodes keep the version before, and what is captured is served on all");
  report->bad(id, kInstallation, description, error,
              str_cat("helm rollback weft -n ", ns, " --wait; why it does not start: kubectl -n ", ns,
                      " describe pod ", pod.name));
}

// The object; null when it is not there.
Json check_daemonset(ApiClient& client, const char* id, const std::string& ns, const std::string& component,
                     ClusterReport* report) {
  const std::string name = str_cat("weft-", component);
  const JsonAnswer found = ask(client, str_cat("/apis/apps/v1/namespaces/", ns, "/daemonsets/", name));
  std::string description = str_cat("DaemonSet ", ns, "/", name, " runs on every node");
  if (!found.ok()) {
    report->bad(id, kInstallation, description, found.status == 404 ? "it is not there" : found.problem,
                found.status == 404 ? str_cat("weft install -n ", ns, ", or name its namespace with -n")
                                    : str_cat("kubectl -n ", ns, " get daemonset ", name));
    return nullptr;
  }
  const int64_t wanted = number(found.value, {"status", "desiredNumberScheduled"});
  const int64_t ready = number(found.value, {"status", "numberReady"});
  if (!text(found.value, {"metadata", "deletionTimestamp"}).empty()) {
    report->bad(id, kInstallation, description, "it is being deleted, and with it what it did on each node",
                str_cat("weft install -n ", ns, " when it is gone"));
  } else if (wanted == 0) {
    report->bad(id, kInstallation, description, "no node is to have it",
                str_cat("kubectl -n ", ns, " describe daemonset ", name));
  } else if (ready < wanted) {
    report_unready(client, id, ns, component, description, found.value, report);
  } else {
    report->good(id, kInstallation, str_cat(description, " (", wanted, ")"));
  }
  return found.value;
}

std::string version_of(const Json& daemonset) {
  return server_text(text(daemonset, {"metadata", "labels", "app.kubernetes.io/version"}), 64);
}

void check_versions(const Json& agent, const Json& proxy, const std::string& own, ClusterReport* report) {
  const std::string description = "agents, proxies and this program are of one version";
  const std::string theirs[] = {version_of(agent), version_of(proxy)};
  if (theirs[0] != theirs[1])
    return report->bad("M-03", kInstallation, description,
                       str_cat("agents ", theirs[0], ", proxies ", theirs[1]), "weft upgrade");
  for (const Json* const daemonset : {&agent, &proxy}) {
    const int64_t wanted = number(*daemonset, {"status", "desiredNumberScheduled"});
    const int64_t updated = number(*daemonset, {"status", "updatedNumberScheduled"});
    if (updated < wanted)
      return report->bad("M-03", kInstallation, description,
                         str_cat(text(*daemonset, {"metadata", "name"}), ": ", updated, " of ", wanted,
                                 " nodes have the newest version"),
                         str_cat("kubectl -n ", text(*daemonset, {"metadata", "namespace"}),
                                 " rollout status daemonset ", text(*daemonset, {"metadata", "name"})),
                         Result::kWarning);
  }
  if (numbers_of(theirs[0]) == numbers_of(own)) return report->good("M-03", kInstallation, description);
  report->bad("M-03", kInstallation, description, str_cat("the cluster has ", theirs[0], ", this is ", own),
              "weft upgrade, or take the weft of that version", Result::kWarning);
}

void check_authority(const Json& agent, ClusterReport* report) {
  const std::string description = "nodes trust each other's certificates";
  const Json* const volumes = find(agent, {"spec", "template", "spec", "volumes"});
  bool shared = false;
  if (volumes != nullptr && volumes->is_array()) {
    for (const Json& volume : *volumes)
      shared = shared || (text(volume, {"name"}) == "authority" && find(volume, {"secret"}) != nullptr);
  }
  if (shared || number(agent, {"status", "desiredNumberScheduled"}) < 2)
    return report->good("M-05", kInstallation, description);
  report->bad("M-05", kInstallation, description,
              "each node has a root of its own: no tunnel between nodes comes about",
              "make a Secret of an intermediate and set agent.authority.secretName (helm/weft/README.md)",
              Result::kWarning);
}

// Whether agents ask weft-control instead of the API server.
bool uses_control(const Json& agent) {
  const Json* const containers = find(agent, {"spec", "template", "spec", "containers"});
  if (containers == nullptr || !containers->is_array()) return false;
  for (const Json& container : *containers) {
    const Json* const arguments = find(container, {"args"});
    if (arguments == nullptr || !arguments->is_array()) continue;
    for (const Json& argument : *arguments) {
      const auto* const words = argument.get_ptr<const std::string*>();
      if (words != nullptr && words->starts_with("--control-plane")) return true;
    }
  }
  return false;
}

void check_control(ApiClient& client, const std::string& ns, const Json& agent, ClusterReport* report) {
  const JsonAnswer found = ask(client, str_cat("/apis/apps/v1/namespaces/", ns, "/deployments/weft-control"));
  const std::string description = str_cat("Deployment ", ns, "/weft-control serves the agents");
  if (!found.ok())
    return report->bad("M-07", kInstallation, description,
                       found.status == 404 ? "it is not there" : found.problem,
                       found.status == 404 ? str_cat("weft upgrade -n ", ns, " --set control.enabled=true")
                                           : str_cat("kubectl -n ", ns, " get deployment weft-control"));
  const int64_t wanted = number(found.value, {"spec", "replicas"});
  const int64_t ready = number(found.value, {"status", "readyReplicas"});
  const std::string describe =
      str_cat("kubectl -n ", ns, " describe pods -l app.kubernetes.io/component=control");
  if (ready < wanted || wanted == 0) {
    const std::string why = why_not_ready(client, ns, "control");
    // One is enough to serve.
    return report->bad("M-07", kInstallation, description,
                       str_cat(ready, " of ", wanted, " are ready", why.empty() ? "" : "; ", why), describe,
                       ready == 0 ? Result::kError : Result::kWarning);
  }
  if (version_of(found.value) != version_of(agent))
    return report->bad("M-07", kInstallation, description,
                       str_cat("it is ", version_of(found.value), ", agents ", version_of(agent)),
                       str_cat("weft upgrade -n ", ns), Result::kWarning);
  report->good("M-07", kInstallation, str_cat(description, " (", ready, ")"));
}

void check_enrolled(ApiClient& client, ClusterReport* report) {
  const std::string description = "namespaces are in the mesh";
  size_t count = 0;
  const JsonAnswer end = each(client, "/api/v1/namespaces", [&count](const Json& ns) {
    if (text(ns, {"metadata", "labels", "weft.dev/mesh"}) == "enabled" ||
        text(ns, {"metadata", "labels", "istio.io/dataplane-mode"}) == "ambient")
      ++count;
  });
  if (!end.ok())
    return report->bad("M-06", kInstallation, description, str_cat("not known: ", end.problem),
                       "kubectl get namespaces --show-labels", Result::kWarning);
  if (count > 0) return report->good("M-06", kInstallation, str_cat(description, " (", count, ")"));
  report->bad("M-06", kInstallation, description, "none is labelled; pods may be, one by one",
              "kubectl label namespace NAMESPACE weft.dev/mesh=enabled", Result::kWarning);
}

}  // namespace

absl::StatusOr<size_t> count_pods(const ClusterQuestion& question) {
  if (!is_label(question.ns))
    return absl::InvalidArgumentError(str_cat("'", question.ns, "' is no name of a namespace"));
  ASSIGN_OR_RETURN(const ApiAccess access, access_of(question));
  ASSIGN_OR_RETURN(const std::unique_ptr<ApiClient> client, ApiClient::create(access, {}));
  size_t count = 0;
  const JsonAnswer end = each(*client, pods_path(question.ns), [&count](const Json&) { ++count; });
  if (!end.ok()) return absl::UnavailableError(str_cat("pods of ", question.ns, ": ", end.problem));
  return count;
}

std::vector<ClusterCheck> check_cluster(const ClusterQuestion& question) {
  ClusterReport report;
  // It becomes part of paths.
  if (!is_label(question.ns)) {
    report.bad("P-01", kCluster, "a namespace for Weft",
               str_cat("'", question.ns, "' is no name of a namespace"),
               "weft check --cluster -n weft-system");
    return report.rows;
  }
  const absl::StatusOr<ApiAccess> access = access_of(question);
  const absl::StatusOr<std::unique_ptr<ApiClient>> client =
      access.ok() ? ApiClient::create(*access, {})
                  : absl::StatusOr<std::unique_ptr<ApiClient>>(access.status());
  if (!client.ok()) {
    std::string message(client.status().message());
    std::string hint = "weft check --cluster --kubeconfig FILE";
    if (const size_t next = message.rfind("; next: "); next != message.npos) {
      hint = message.substr(next + 8);
      message.resize(next);
    }
    report.bad("P-01", kCluster, "access to the API server", message, hint);
    return report.rows;
  }
  if (!check_server(**client, access->server, &report)) return report.rows;
  if (question.before) check_own_rights(**client, question.ns, &report);
  check_definitions(**client, &report);
  check_nodes(**client, &report);
  if (question.before) {
    check_namespace(**client, question.ns, &report);
    return report.rows;
  }
  const Json agent = check_daemonset(**client, kAgentRow, question.ns, "agent", &report);
  const Json proxy = check_daemonset(**client, "M-02", question.ns, "proxy", &report);
  if (agent.is_null() || proxy.is_null()) return report.rows;
  check_versions(agent, proxy, question.version, &report);
  const bool controlled = uses_control(agent);
  check_reading_rights(**client, controlled ? "weft-control" : "weft-agent", &report);
  if (controlled)
    check_control(**client, question.ns, agent, &report);
  else
    check_authority(agent, &report);
  check_enrolled(**client, &report);
  return report.rows;
}

}  // namespace weft::control_plane
