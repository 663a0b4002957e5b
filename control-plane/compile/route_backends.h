// From the references of a Gateway API route to destinations: which exist, and which may be used from where
// (ReferenceGrant). Pure; each route is resolved once, so that its findings come once.
#pragma once

#include <cstdint>
#include <vector>

#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// What the rules of a route do, in their order: complete HttpRoutes, of TLSRoute and TCPRoute with
// destinations only. A share that may go nowhere has an invalid destination. Only what is attached to a
// Gateway needs grants for other namespaces: whoever is in the mesh reaches its Services anyway.
// `first` gets the first reference that may not be used.
std::vector<mesh::v1::HttpRoute> resolve_rules(const GatewayRoute& route, const Objects& objects,
                                               Grants grants, std::vector<Finding>* findings,
                                               RefusedReference* first = nullptr);

// True when a ReferenceGrant of `to_ns` lets `from_kind` of the Gateway API in `from_ns` refer to this
// object.
struct Reference {
  std::string from_kind, from_ns, to_group, to_kind, to_ns, to_name;
};
bool is_granted(const Reference& reference, const Objects& objects);

// A warning about a route, or about whatever has this meta.
void warn_about(const ObjectMeta& meta, const char* code, uint32_t line, const std::string& field,
                std::string message, std::string remedy, std::vector<Finding>* findings);

}  // namespace weft::control_plane
