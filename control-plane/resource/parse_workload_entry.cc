// WorkloadEntry of Istio's networking API: a machine that is no pod, as an endpoint of the Services and
// ServiceEntries that select its labels.
#include <array>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/resource/endpoint_address.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 7> kSpecRead = {"address",  "ports",  "labels",        "network",
                                            "locality", "weight", "serviceAccount"};
constexpr int64_t kMaxWeight = 1'000'000;

void parse_address(const FieldReader& spec, ServiceEntry::Endpoint& out) {
  out.address = spec.required_text("address", "an address, or a name that is resolved");
  if (out.address.empty()) return;
  const auto ip = IpAddress::parse(out.address);
  if (!ip && !is_host_name(out.address))
    spec.error_at("address", kValueRejected, str_cat("\"", out.address.substr(0, 64), "\" is not an address"),
                  "use an address such as 192.0.2.10, or a host name");
  if (ip && !is_endpoint_address(*ip))
    spec.child("address")->warning(
        kWithoutEffect, str_cat(out.address, " is another machine for every client: it is left out"),
        "give an address that means the same everywhere");
}

void parse_ports(const FieldReader& spec, ServiceEntry::Endpoint& out) {
  const auto ports = spec.child("ports");
  if (!ports || ports->node().kind != YamlNode::Kind::kMap) return;
  for (const YamlField& field : ports->node().fields)
    out.ports[field.name] = static_cast<uint16_t>(ports->integer(field.name, 1, 65535).value_or(0));
}

}  // namespace

WorkloadEntry parse_workload_entry(const FieldReader& root, ObjectMeta meta) {
  WorkloadEntry out{.meta = std::move(meta), .endpoint = {}};
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give the address of the machine");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = {}})) return out;
  ServiceEntry::Endpoint& endpoint = out.endpoint;
  parse_address(*spec, endpoint);
  parse_ports(*spec, endpoint);
  endpoint.labels = spec->text_map("labels");
  // As in Istio: of two values for one label the metadata's counts.
  for (const auto& [key, value] : out.meta.labels) endpoint.labels[key] = value;
  if (const auto network = spec->child("network"))
    network->warning(kWithoutEffect, "networks are not told apart: the address must be reachable as it is",
                     "remove it");
  endpoint.locality = spec->text("locality").value_or("");
  endpoint.weight = static_cast<uint32_t>(spec->integer("weight", 0, kMaxWeight).value_or(1));
  endpoint.service_account = spec->text("serviceAccount").value_or("");
  return out;
}

}  // namespace weft::control_plane
