// DestinationRule (l7 semantics of Istio's networking API): host, subsets and their traffic policies. What of
// the API does not work is refused by name.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_traffic_policy.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 4> kSpecRead = {"host", "exportTo", "subsets", "trafficPolicy"};
constexpr std::array<Names, 1> kSpecKnown = {"workloadSelector"};
constexpr std::array<Names, 3> kSubsetRead = {"name", "labels", "trafficPolicy"};
// Where the compiled policy has it, and where it stands in the manifest.
void note_tls(const FieldReader& policy, const mesh::v1::TrafficPolicy& compiled, DestinationRule& out) {
  const auto mode = compiled.tls().mode();
  if (mode == mesh::v1::ClientTls::MODE_UNSPECIFIED || mode == mesh::v1::ClientTls::DISABLE) return;
  if (const auto tls = policy.child("tls"))
    out.tls.push_back({.tls = compiled.tls(), .line = tls->line(), .field = tls->path()});
}

void note_all_tls(const FieldReader& owner, const mesh::v1::TrafficPolicy& compiled, DestinationRule& out) {
  const auto policy = owner.child("trafficPolicy");
  if (!policy) return;
  note_tls(*policy, compiled, out);
  const auto ports = policy->items("portLevelSettings");
  // A port that was refused is not among the compiled ones.
  if (ports.size() != static_cast<size_t>(compiled.ports_size())) return;
  for (size_t i = 0; i < ports.size(); ++i)
    note_tls(ports[i], compiled.ports(static_cast<int>(i)).policy(), out);
}

void parse_subsets(const FieldReader& spec, DestinationRule& out) {
  for (const FieldReader& item : spec.items("subsets")) {
    if (!item.expect_map({.read = kSubsetRead, .known = {}})) continue;
    auto& subset = *out.policy.add_subsets();
    subset.set_name(item.required_text("name", "the name that routes use"));
    for (const auto& [key, value] : item.text_map("labels")) (*subset.mutable_labels())[key] = value;
    for (const HostReference& other : out.subsets) {
      if (other.subset == subset.name() && !subset.name().empty()) {
        item.error_at("name", kValueRejected, str_cat("subset \"", subset.name(), "\" is given twice"),
                      "give each subset its own name");
      }
    }
    mesh::v1::TrafficPolicy policy;
    const bool has_policy = parse_traffic_policy(item, policy);
    note_all_tls(item, policy, out);
    if (has_policy) *subset.mutable_traffic_policy() = std::move(policy);
    out.subsets.push_back(
        {.host = out.host.host, .subset = subset.name(), .line = item.line(), .field = item.path()});
  }
}

}  // namespace

DestinationRule parse_destination_rule(const FieldReader& root, ObjectMeta meta) {
  DestinationRule out{.meta = std::move(meta)};
  out.policy.set_name(out.meta.name);
  out.policy.set_namespace_(out.meta.ns);
  out.policy.set_created_unix(out.meta.created_unix);
  *out.policy.mutable_origin() = origin_of(out.meta);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required",
                  "give a host and its subsets or trafficPolicy");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = kSpecKnown})) return out;
  if (const auto host = spec->child("host")) {
    out.host = {.host = parse_host(*host, out.meta.ns), .line = host->line(), .field = host->path()};
    out.policy.set_host(out.host.host);
  } else {
    spec->error_at("host", kFieldMissing, "the field is required", "name the service this rule is for");
  }
  for (std::string& ns : parse_export_to(*spec, out.meta.ns, out.hidden))
    out.policy.add_export_to(std::move(ns));
  mesh::v1::TrafficPolicy policy;
  const bool has_policy = parse_traffic_policy(*spec, policy);
  note_all_tls(*spec, policy, out);
  if (has_policy) *out.policy.mutable_traffic_policy() = std::move(policy);
  parse_subsets(*spec, out);
  return out;
}

}  // namespace weft::control_plane
