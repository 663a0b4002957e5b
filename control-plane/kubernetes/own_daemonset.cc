// See own_daemonset.h. A field selector with one name: RBAC grants it by resourceNames.
#include "control-plane/kubernetes/own_daemonset.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "control-plane/kubernetes/kinds.h"

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
      namespace_selector_(str_cat("fieldSelector=metadata.name%3D", ns_)),
      namespace_place_(str_cat("Namespace ", ns_)),
      namespace_kind_(one_namespace_kind(namespace_selector_)),
      client_(client),
      timing_(timing),
      random_(random),
      reflector_(kind_, client, timing, random) {}

OwnDaemonSet::Question::Question(const OwnDaemonSet& own)
    : daemonset(own.kind_, own.client_, own.timing_, own.random_),
      its_namespace(own.namespace_kind_, own.client_, own.timing_, own.random_) {}

Reflector::Clock::time_point OwnDaemonSet::tick(Reflector::Clock::time_point now) {
  reflector_.tick(now);
  if (!question_) return reflector_.due();
  question_->daemonset.tick(now);
  question_->its_namespace.tick(now);
  return std::min({reflector_.due(), question_->daemonset.due(), question_->its_namespace.due()});
}

void OwnDaemonSet::ask_anew() {
  answer_ = Answer::kNone;
  question_.emplace(*this);
}

void OwnDaemonSet::look(bool namespace_ending) {
  // Whether it is there, and is to stay, is all that is asked of it.
  static_cast<void>(reflector_.take());
  look_at_answer();
  if (!reflector_.settled()) return;
  const bool there = reflector_.objects() > 0;
  stays_ = there && !reflector_.ending(place_) && !namespace_ending;
  seen_ = seen_ || there;
}

void OwnDaemonSet::look_at_answer() {
  if (!question_ || !question_->daemonset.settled() || !question_->its_namespace.settled()) return;
  const bool stays = question_->daemonset.objects() > 0 && !question_->daemonset.ending(place_) &&
                     !question_->its_namespace.ending(namespace_place_);
  answer_ = stays ? Answer::kStays : Answer::kGone;
  question_.reset();
}

std::optional<std::string> OwnDaemonSet::problem(const std::string& server) const {
  const auto& trouble = reflector_.trouble();
  // Not found, or not to be seen by us: an answer that waiting does not change.
  if (!trouble || (trouble->status != 403 && trouble->status != 404)) return std::nullopt;
  return str_cat(
      "Kubernetes API ", server, ": DaemonSet ", ns_, "/", name_, ": ", trouble->message,
      ": an uninstall will not be noticed, and this node not cleaned (next: allow list and watch of "
      "daemonsets.apps ",
      name_, " in ", ns_, " (docs/kubernetes.md))");
}

}  // namespace weft::control_plane
