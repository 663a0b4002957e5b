// See parse_route_target.h.
#include "control-plane/resource/parse_route_target.h"

#include <array>
#include <limits>

#include "base/strings.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 3> kDestinationRead = {"host", "subset", "port"};
constexpr std::array<Names, 1> kPortRead = {"number"};

}  // namespace

void parse_target(const FieldReader& destination, const std::string& ns, mesh::v1::Destination& out,
                  std::vector<HostReference>& references) {
  if (!destination.expect_map({.read = kDestinationRead, .known = {}})) return;
  const auto host = destination.child("host");
  if (!host) {
    destination.error_at("host", kFieldMissing, "the field is required", "name a service");
    return;
  }
  out.set_host(parse_host(*host, ns));
  if (out.host().starts_with("*")) {
    host->error(kValueRejected, "a destination cannot be a wildcard", "name one service");
  }
  if (auto subset = destination.text("subset")) out.set_subset(*std::move(subset));
  const auto port = destination.child("port");
  if (port && port->expect_map({.read = kPortRead, .known = {}})) {
    if (!port->has("number"))
      port->error_at("number", kFieldMissing, "the field is required", "give the port's number");
    out.set_port(static_cast<uint32_t>(port->integer("number", 1, 65535).value_or(0)));
  }
  if (out.subset().empty()) {
    if (references.empty() || references.back().host != out.host())
      references.push_back({.host = out.host(), .subset = "", .line = host->line(), .field = host->path()});
    return;
  }
  references.push_back({.host = out.host(),
                        .subset = out.subset(),
                        .line = destination.line_of("subset"),
                        .field = str_cat(destination.path(), ".subset")});
}

void parse_destination(const FieldReader& item, const std::string& ns, mesh::v1::Destination& out,
                       std::vector<HostReference>& references) {
  out.set_weight(
      static_cast<uint32_t>(item.integer("weight", 0, std::numeric_limits<int32_t>::max()).value_or(0)));
  const auto destination = item.child("destination");
  if (!destination) {
    item.error_at("destination", kFieldMissing, "the field is required", "give destination.host");
    return;
  }
  parse_target(*destination, ns, out, references);
}

void check_weight_sum(const FieldReader& parent, uint64_t sum) {
  if (sum == 0) {
    parent.error_at("route", kWeightsAllZero, "the weights of all destinations are 0",
                    "give at least one destination a weight above 0");
  }
  if (sum > std::numeric_limits<uint32_t>::max()) {
    parent.error_at("route", kValueRejected, "the sum of the weights is too large",
                    "use weights that add up to 100");
  }
}

}  // namespace weft::control_plane
