// Routes of the Gateway API to RouteSets, the form that VirtualServices have too: which attach to what, which
// kind wins on a port, in which order they are tried. Pure; the compiler calls it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/remembered.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// The routes of a Service's port: of its own namespace, or of a client namespace.
struct MeshRouteSet {
  std::string host;  // of the Service
  uint16_t port = 0;
  bool consumer = false;          // of a client namespace
  bool tls = false, tcp = false;  // it has routes for connections
  std::shared_ptr<const StepResult> made;
};
std::vector<MeshRouteSet> mesh_routes(const Objects& objects, const KindStamps& stamps,
                                      Remembered& remembered, std::vector<Finding>* findings,
                                      GatewayFacts* facts);

}  // namespace weft::control_plane
