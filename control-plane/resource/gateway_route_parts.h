// The parts of routes of the Gateway API: parents, matches, filters, backends. Used by the parsers of its
// kinds; each reports through the reader, and what refers to other objects is only written down.
#pragma once

#include <span>

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/gateway_api.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// spec.parentRefs and spec.hostnames.
void parse_parents(const FieldReader& spec, GatewayRoute& out);
void parse_hostnames(const FieldReader& spec, GatewayRoute& out);

// The readers of spec.rules; reports too many, and none where `required`.
std::vector<FieldReader> parse_rules(const FieldReader& spec, bool required);

// rules[].matches of HTTPRoute and of GRPCRoute; one that holds always when there is none.
void parse_http_matches(const FieldReader& rule, mesh::v1::HttpRoute& out);
void parse_grpc_matches(const FieldReader& rule, mesh::v1::HttpRoute& out);

// rules[].filters: into the rule's action and its mirrors. `grpc`: of a GRPCRoute, which has fewer.
void parse_rule_filters(const FieldReader& rule, bool grpc, GatewayRoute& route, GatewayRoute::Rule& out);

// rules[].timeouts and rules[].retry of HTTPRoute.
void parse_route_patience(const FieldReader& rule, mesh::v1::HttpRoute& out);

// rules[].backendRefs, and the mirrors that they ask for. `filters`: which a backend may have.
enum class BackendFilters : uint8_t { kNone, kHttp };
void parse_backends(const FieldReader& rule, BackendFilters filters, const std::string& ns,
                    GatewayRoute::Rule& out);
// One backend reference; `more`: fields beside those of a reference.
GatewayRoute::Backend parse_backend(const FieldReader& item, const std::string& ns,
                                    std::span<const std::string_view> more);

// "requestMirror" of a filter: into the rule's mirrors, unless it is switched off.
void parse_mirror(const FieldReader& filter, const std::string& ns, GatewayRoute::Rule& out);

// "requestHeaderModifier" or "responseHeaderModifier" in field `name` of a filter: `authority` gets a Host
// that is set, null where none may be.
void parse_header_modifier(const FieldReader& filter, std::string_view name, mesh::v1::HeaderEdits& out,
                           std::string* authority);

}  // namespace weft::control_plane
