// Sidecar of Istio's networking API. There is no sidecar here, but this is where users say what pods may
// reach: outboundTrafficPolicy. What would narrow what pods see is refused rather than left out.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/policy_terms.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 3> kSpecRead = {"workloadSelector", "outboundTrafficPolicy", "egress"};
constexpr std::array<Names, 2> kSpecKnown = {"ingress", "inboundConnectionPool"};
constexpr std::array<Names, 1> kSelectorRead = {"labels"};
constexpr std::array<Names, 1> kPolicyRead = {"mode"};
constexpr std::array<Names, 1> kPolicyKnown = {"egressProxy"};
constexpr std::array<Names, 1> kEgressRead = {"hosts"};
constexpr std::array<Names, 3> kEgressKnown = {"port", "bind", "captureMode"};

void parse_selector(const FieldReader& spec, Sidecar& out) {
  const auto selector = spec.child("workloadSelector");
  if (!selector || !selector->expect_map({.read = kSelectorRead, .known = {}})) return;
  out.selector = selector->text_map("labels");
  if (out.selector.empty())
    selector->error_at("labels", kFieldMissing, "the selector has no labels",
                       "give labels, or remove the selector to reach every pod of the namespace");
}

void parse_policy(const FieldReader& spec, Sidecar& out) {
  const auto policy = spec.child("outboundTrafficPolicy");
  if (!policy || !policy->expect_map({.read = kPolicyRead, .known = kPolicyKnown})) return;
  // The mode that is not written is the first one of Istio's list.
  const std::string mode = policy->text("mode").value_or("REGISTRY_ONLY");
  out.registry_only = mode == "REGISTRY_ONLY";
  if (*out.registry_only || mode == "ALLOW_ANY") return;
  const bool later = mode == "ALLOW_ANY_DYNAMIC_DNS";
  policy->error_at("mode", later ? kNotSupportedYet : kValueRejected,
                   str_cat("\"", mode.substr(0, 32), later ? "\" is not supported yet" : "\" is no mode"),
                   "use ALLOW_ANY or REGISTRY_ONLY");
}

// The one list that narrows nothing.
void check_egress(const FieldReader& spec) {
  for (const FieldReader& item : spec.items("egress")) {
    if (!item.expect_map({.read = kEgressRead, .known = kEgressKnown})) continue;
    for (const FieldReader& host : item.items("hosts")) {
      const auto text = host.as_text();
      if (!text || *text == "*/*") continue;
      host.error(kNotSupportedYet, "egress lists that narrow what pods see are not supported yet",
                 "remove the list, and say with exportTo who sees what");
    }
  }
}

}  // namespace

Sidecar parse_sidecar(const FieldReader& root, ObjectMeta meta) {
  Sidecar out{.meta = std::move(meta), .selector = {}, .registry_only = {}};
  const auto spec = root.child("spec");
  if (!spec || !spec->expect_map({.read = kSpecRead, .known = kSpecKnown})) return out;
  parse_selector(*spec, out);
  parse_policy(*spec, out);
  check_egress(*spec);
  return out;
}

}  // namespace weft::control_plane
