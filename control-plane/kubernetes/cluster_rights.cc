// Rights, of the caller by SelfSubjectAccessReview, of the agents by their ClusterRole. See cluster_reader.h.
#include <algorithm>
#include <span>
#include <utility>

#include "base/strings.h"
#include "control-plane/kubernetes/cluster_reader.h"
#include "control-plane/kubernetes/kinds.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {
namespace {

constexpr char kReviews[] = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
constexpr char kRoles[] = "/apis/rbac.authorization.k8s.io/v1/clusterroles/";

struct Right {
  const char* verb;
  const char* group;
  const char* resource;
  bool in_namespace;
};
// Of what everybody installs. Helm keeps what it installed in Secrets.
constexpr Right kInstall[] = {{"create", "", "namespaces", false},
                              {"create", "", "secrets", true},
                              {"create", "", "serviceaccounts", true},
                              {"create", "apps", "daemonsets", true},
                              {"create", "networking.k8s.io", "networkpolicies", true},
                              {"create", "rbac.authorization.k8s.io", "roles", true},
                              {"create", "rbac.authorization.k8s.io", "rolebindings", true},
                              {"create", "rbac.authorization.k8s.io", "clusterroles", false},
                              {"create", "rbac.authorization.k8s.io", "clusterrolebindings", false}};
// And of weft-control (control.enabled): what is made for it, and what it is granted.
constexpr Right kControl[] = {{"create", "apps", "deployments", true},
                              {"create", "", "services", true},
                              {"create", "", "configmaps", true},
                              {"create", "policy", "poddisruptionbudgets", true},
                              {"create", "coordination.k8s.io", "leases", true},
                              {"create", "authentication.k8s.io", "tokenreviews", false},
                              {"create", "", "events", false}};

struct Question {
  std::string_view verb, group, resource;
  std::string_view subresource = {};
  std::string_view name = {};  // of one object; "": all
  std::string ns = {};         // "": all namespaces
};

Json review(const Question& question) {
  Json attributes{{"verb", question.verb}, {"group", question.group}, {"resource", question.resource}};
  if (!question.subresource.empty()) attributes["subresource"] = question.subresource;
  if (!question.name.empty()) attributes["name"] = question.name;
  if (!question.ns.empty()) attributes["namespace"] = question.ns;
  return {{"apiVersion", "authorization.k8s.io/v1"},
          {"kind", "SelfSubjectAccessReview"},
          {"spec", {{"resourceAttributes", attributes}}}};
}

std::string words_of(const Question& question) {
  return str_cat(question.verb, " ", question.resource, question.subresource.empty() ? "" : "/",
                 question.subresource, question.group.empty() ? "" : ".", question.group);
}

// Rights of the caller, asked for one by one until an answer does not come.
class OwnRights {
 public:
  OwnRights(ApiClient& client, const std::string& ns) : client_(client), ns_(ns) {}

  void ask_all(std::span<const Right> rights) {
    for (const Right& right : rights)
      ask({.verb = right.verb,
           .group = right.group,
           .resource = right.resource,
           .ns = right.in_namespace ? ns_ : ""});
  }
  void ask(const Question& question) {
    if (!unknown_.empty()) return;
    const JsonAnswer answer = control_plane::ask(client_, kReviews, review(question));
    unknown_ = answer.problem;
    if (!answer.ok()) return;
    const Json* const allowed = find(answer.value, {"status", "allowed"});
    if (allowed != nullptr && *allowed == true) return;
    // Of another namespace it may have been asked a moment ago.
    if (std::string words = words_of(question); missing_.empty() || missing_.back() != words)
      missing_.push_back(std::move(words));
  }
  // Why not everything is known; empty: it is.
  const std::string& unknown() const { return unknown_; }
  std::vector<std::string> take_missing() { return std::exchange(missing_, {}); }

 private:
  ApiClient& client_;
  const std::string ns_;
  std::string unknown_;
  std::vector<std::string> missing_;
};

// What is read of the cluster, in whatever way.
void ask_to_read(OwnRights& rights) {
  for (const char* verb : {"list", "watch"}) {
    for (const KubernetesKind& kind : kubernetes_kinds())
      rights.ask({.verb = verb, .group = kind.group, .resource = kind.plural});
    for (const KubernetesKind& kind : mesh_config_kinds())
      rights.ask({.verb = verb,
                  .group = kind.group,
                  .resource = kind.plural,
                  .name = MeshConfig::kName,
                  .ns = std::string(kind.in_namespace)});
  }
}

// What weft-control writes (control.writeStatus).
void ask_to_write_status(OwnRights& rights) {
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if ((!kind.is_of_istio() && !kind.is_of_gateway_api()) || kind.name == "ReferenceGrant") continue;
    rights.ask({.verb = "get", .group = kind.group, .resource = kind.plural});
    rights.ask({.verb = "patch", .group = kind.group, .resource = kind.plural, .subresource = "status"});
  }
}

bool lists(const Json& rule, const char* field, std::string_view name) {
  const Json* const names = find(rule, {field});
  return names != nullptr && names->is_array() &&
         std::any_of(names->begin(), names->end(), [name](const Json& each) {
           const auto* const given = each.get_ptr<const std::string*>();
           return given != nullptr && (*given == name || *given == "*");
         });
}

// `name`: of all objects of the kind that are read; "": there are others.
bool grants(const Json& role, std::string_view verb, const KubernetesKind& kind, std::string_view name) {
  const Json* const rules = find(role, {"rules"});
  return rules != nullptr && rules->is_array() &&
         std::any_of(rules->begin(), rules->end(), [&](const Json& rule) {
           const bool named = find(rule, {"resourceNames"}) != nullptr;
           return lists(rule, "apiGroups", kind.group) && lists(rule, "resources", kind.plural) &&
                  lists(rule, "verbs", verb) &&
                  (!named || (!name.empty() && lists(rule, "resourceNames", name)));
         });
}

}  // namespace

void check_own_rights(ApiClient& client, const std::string& ns, ClusterReport* report) {
  const std::string description = str_cat("you may install into namespace ", ns);
  OwnRights rights(client, ns);
  rights.ask_all(kInstall);
  // Nobody may grant what he does not have.
  ask_to_read(rights);
  const std::vector<std::string> missing = rights.take_missing();
  rights.ask_all(kControl);
  ask_to_write_status(rights);
  const std::vector<std::string> of_control = rights.take_missing();
  if (!rights.unknown().empty()) {
    return report->bad("P-03", "cluster", description, str_cat("not known: ", rights.unknown()),
                       "kubectl auth can-i --list", ClusterCheck::Result::kWarning);
  }
  if (!missing.empty())
    return report->bad("P-03", "cluster", description, str_cat("you may not ", some_of(missing, 8)),
                       "let an administrator of the cluster install it, or give you these rights");
  if (of_control.empty()) return report->good("P-03", "cluster", description);
  report->bad(
      "P-03", "cluster", description,
      str_cat("without weft-control (control.enabled), for which you may not ", some_of(of_control, 8)),
      "leave it out, or let an administrator of the cluster install it", ClusterCheck::Result::kWarning);
}

void check_reading_rights(ApiClient& client, const std::string& role_name, ClusterReport* report) {
  const std::string description =
      str_cat(role_name == "weft-agent" ? "the agents" : role_name, " may read what ",
              role_name == "weft-agent" ? "they need" : "it needs");
  const JsonAnswer role = ask(client, str_cat(kRoles, role_name));
  if (!role.ok()) {
    const bool missing = role.status == 404;
    return report->bad(
        "M-04", "installation", description,
        missing ? str_cat("there is no ClusterRole ", role_name) : str_cat("not known: ", role.problem),
        missing ? "weft upgrade" : str_cat("kubectl get clusterrole ", role_name),
        missing ? ClusterCheck::Result::kError : ClusterCheck::Result::kWarning);
  }
  std::vector<std::string> missing;
  const auto look = [&](const KubernetesKind& kind, std::string_view name) {
    for (const char* verb : {"list", "watch"}) {
      if (!grants(role.value, verb, kind, name))
        missing.push_back(words_of({.verb = verb, .group = kind.group, .resource = kind.plural}));
    }
  };
  for (const KubernetesKind& kind : kubernetes_kinds()) look(kind, "");
  // Of another namespace, by the same name.
  look(mesh_config_kinds().front(), MeshConfig::kName);
  if (missing.empty()) return report->good("M-04", "installation", description);
  report->bad("M-04", "installation", description,
              str_cat("ClusterRole ", role_name, " does not grant ", some_of(missing)), "weft upgrade");
}

}  // namespace weft::control_plane
