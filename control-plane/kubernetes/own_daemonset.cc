// See own_daemonset.h. A field selector with one name: RBAC grants it by resourceNames.
#include "control-plane/kubernetes/own_daemonset.h"

#include <array>
#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr std::array<std::string_view, 1> kVersions = {"v1"};
// Not the annotations: a bookmark's says that a streamed list is complete.
constexpr std::array<std::string_view, 3> kLeftOut = {"metadata.managedFields", "spec", "status"};

}  // namespace

OwnDaemonSet::OwnDaemonSet(std::string ns, std::string name, ApiClient& client, const ReflectorTiming& timing,
                           std::minstd_rand& random)
    : ns_(std::move(ns)),
      name_(std::move(name)),
      selector_(str_cat("fieldSelector=metadata.name%3D", name_)),
      place_(str_cat("DaemonSet ", ns_, "/", name_)),
      kind_{.name = "DaemonSet",
            .kind = "DaemonSet",
            .group = "apps",
            .versions = kVersions,
            .plural = "daemonsets",
            .selector = selector_,
            .left_out = kLeftOut,
            .may_be_missing = false,
            .in_namespace = ns_},
      reflector_(kind_, client, timing, random) {}

void OwnDaemonSet::look(bool namespace_ending) {
  // Whether it is there, and is to stay, is all that is asked of it.
  static_cast<void>(reflector_.take());
  if (!reflector_.settled()) return;
  const bool there = reflector_.objects() > 0;
  stays_ = there && !reflector_.ending(place_) && !namespace_ending;
  seen_ = seen_ || there;
}

// Not found, or not to be seen by us: an answer that waiting does not change.
bool OwnDaemonSet::is_refused() const {
  const auto& trouble = reflector_.trouble();
  return trouble && (trouble->status == 403 || trouble->status == 404);
}

bool OwnDaemonSet::server_away() const { return reflector_.trouble().has_value() && !is_refused(); }

std::optional<std::string> OwnDaemonSet::problem(const std::string& server) const {
  if (!is_refused()) return std::nullopt;
  const auto& trouble = reflector_.trouble();
  return str_cat(
      "Kubernetes API ", server, ": DaemonSet ", ns_, "/", name_, ": ", trouble->message,
      ": an uninstall will not be noticed, and this node not cleaned (next: allow list and watch of "
      "daemonsets.apps ",
      name_, " in ", ns_, " (docs/kubernetes.md))");
}

}  // namespace weft::control_plane
