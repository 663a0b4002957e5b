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

void parse_target(const FieldReader& destination_field, const std::string& ns, ParsedDestination& out) {
  const FieldReader* destination = &destination_field;
  if (!destination->expect_map({.read = kDestinationRead, .known = {}})) return;
  const auto host = destination->child("host");
  if (!host) {
    destination->error_at("host", kFieldMissing, "the field is required", "name a service");
    return;
  }
  out.destination.set_host(parse_host(*host, ns));
  if (out.destination.host().starts_with("*")) {
    host->error(kValueRejected, "a destination cannot be a wildcard", "name one service");
  }
  out.destination.set_subset(destination->text("subset").value_or(""));
  const auto port = destination->child("port");
  if (port && port->expect_map({.read = kPortRead, .known = {}})) {
    if (!port->has("number"))
      port->error_at("number", kFieldMissing, "the field is required", "give the port's number");
    out.destination.set_port(static_cast<uint32_t>(port->integer("number", 1, 65535).value_or(0)));
  }
  const bool subset = !out.destination.subset().empty();
  out.reference = {.host = out.destination.host(),
                   .subset = out.destination.subset(),
                   .line = subset ? destination->line_of("subset") : host->line(),
                   .field = subset ? str_cat(destination->path(), ".subset") : host->path()};
}

ParsedDestination parse_destination(const FieldReader& item, const std::string& ns) {
  ParsedDestination out;
  out.destination.set_weight(
      static_cast<uint32_t>(item.integer("weight", 0, std::numeric_limits<int32_t>::max()).value_or(0)));
  const auto destination = item.child("destination");
  if (!destination) {
    item.error_at("destination", kFieldMissing, "the field is required", "give destination.host");
    return out;
  }
  parse_target(*destination, ns, out);
  return out;
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
