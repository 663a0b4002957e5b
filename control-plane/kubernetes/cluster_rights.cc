// Rights, of the caller by SelfSubjectAccessReview, of the agents by their ClusterRole. See cluster_reader.h.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "control-plane/kubernetes/cluster_reader.h"
#include "control-plane/kubernetes/kinds.h"

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
// Helm keeps what it installed in Secrets.
constexpr Right kInstall[] = {{"create", "", "namespaces", false},
                              {"create", "", "secrets", true},
                              {"create", "", "serviceaccounts", true},
                              {"create", "apps", "daemonsets", true},
                              {"create", "networking.k8s.io", "networkpolicies", true},
                              {"create", "rbac.authorization.k8s.io", "roles", true},
                              {"create", "rbac.authorization.k8s.io", "rolebindings", true},
                              {"create", "rbac.authorization.k8s.io", "clusterroles", false},
                              {"create", "rbac.authorization.k8s.io", "clusterrolebindings", false}};

Json review(std::string_view verb, std::string_view group, std::string_view resource, const std::string& ns) {
  Json attributes{{"verb", verb}, {"group", group}, {"resource", resource}};
  if (!ns.empty()) attributes["namespace"] = ns;
  return {{"apiVersion", "authorization.k8s.io/v1"},
          {"kind", "SelfSubjectAccessReview"},
          {"spec", {{"resourceAttributes", attributes}}}};
}

std::string words_of(std::string_view verb, std::string_view group, std::string_view resource) {
  return str_cat(verb, " ", resource, group.empty() ? "" : ".", group);
}

bool lists(const Json& rule, const char* field, std::string_view name) {
  const Json* const names = find(rule, {field});
  return names != nullptr && names->is_array() &&
         std::any_of(names->begin(), names->end(), [name](const Json& each) {
           const auto* const given = each.get_ptr<const std::string*>();
           return given != nullptr && (*given == name || *given == "*");
         });
}

bool grants(const Json& role, std::string_view verb, const KubernetesKind& kind) {
  const Json* const rules = find(role, {"rules"});
  return rules != nullptr && rules->is_array() &&
         std::any_of(rules->begin(), rules->end(), [&](const Json& rule) {
           return lists(rule, "apiGroups", kind.group) && lists(rule, "resources", kind.plural) &&
                  lists(rule, "verbs", verb) && find(rule, {"resourceNames"}) == nullptr;
         });
}

}  // namespace

void check_own_rights(ApiClient& client, const std::string& ns, ClusterReport* report) {
  const std::string description = str_cat("you may install into namespace ", ns);
  std::vector<std::string> missing;
  const auto may = [&](std::string_view verb, std::string_view group, std::string_view resource,
                       bool in_namespace) {
    const JsonAnswer answer = ask(client, kReviews, review(verb, group, resource, in_namespace ? ns : ""));
    if (!answer.ok()) return answer.problem;
    const Json* const allowed = find(answer.value, {"status", "allowed"});
    if (allowed == nullptr || *allowed != true) missing.push_back(words_of(verb, group, resource));
    return std::string();
  };
  std::string unknown;
  for (const Right& right : kInstall) {
    if (unknown.empty()) unknown = may(right.verb, right.group, right.resource, right.in_namespace);
  }
  // Nobody may grant what he does not have.
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    for (const char* verb : {"list", "watch"}) {
      if (unknown.empty()) unknown = may(verb, kind.group, kind.plural, false);
    }
  }
  if (!unknown.empty()) {
    return report->bad("P-03", "cluster", description, str_cat("not known: ", unknown),
                       "kubectl auth can-i --list", ClusterCheck::Result::kWarning);
  }
  if (missing.empty()) return report->good("P-03", "cluster", description);
  report->bad("P-03", "cluster", description, str_cat("you may not ", some_of(missing, 8)),
              "let an administrator of the cluster install it, or give you these rights");
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
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    for (const char* verb : {"list", "watch"}) {
      if (!grants(role.value, verb, kind)) missing.push_back(words_of(verb, kind.group, kind.plural));
    }
  }
  if (missing.empty()) return report->good("M-04", "installation", description);
  report->bad("M-04", "installation", description,
              str_cat("ClusterRole ", role_name, " does not grant ", some_of(missing)), "weft upgrade");
}

}  // namespace weft::control_plane
