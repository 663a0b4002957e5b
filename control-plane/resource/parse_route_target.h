// Destinations of a VirtualService: where its routes of all three kinds lead, and their weights.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// `destination` is {host, subset, port}. What it refers to is added to `references`, unless the last of them
// is the same host, about which there is no more to say.
void parse_target(const FieldReader& destination, const std::string& ns, mesh::v1::Destination& out,
                  std::vector<HostReference>& references);

// One entry of "route": {destination, weight}.
void parse_destination(const FieldReader& item, const std::string& ns, mesh::v1::Destination& out,
                       std::vector<HostReference>& references);

// Reports a sum of 0, and one that is too large, at the field "route".
void check_weight_sum(const FieldReader& parent, uint64_t sum);

// spec.tls and spec.tcp; in parse_layer4_routes.cc.
void parse_layer4_routes(const FieldReader& spec, VirtualService& out);

}  // namespace weft::control_plane
