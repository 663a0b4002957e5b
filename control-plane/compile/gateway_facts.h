// What is decided while routes are attached and gateways compiled, noted for the status of the Gateway API's
// objects (gateway_status.h). Points into the objects that are compiled.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// How well a route fits a parent, or one listener of it; the better the greater.
enum class Fit : uint8_t {
  kNoParent,    // no listener or port is meant
  kNotAllowed,  // its kind or namespace may not attach there
  kNoHostname,  // no host name in common
  kConflict,    // an older route, or a kind that goes before, has the place
  kAccepted,
};

// Whether references to other namespaces need a ReferenceGrant.
enum class Grants : uint8_t { kNeeded, kNotNeeded };

// A reference of a route that may not be used.
struct RefusedReference {
  enum class Why : uint8_t { kNone, kNotFound, kNotPermitted, kInvalidKind };
  Why why = Why::kNone;
  Finding finding;
};

struct GatewayFacts {
  struct Attachment {
    const GatewayRoute* route = nullptr;
    const GatewayRoute::Parent* parent = nullptr;
    Fit fit = Fit::kNoParent;  // the best of one parent's notes counts
  };
  struct Listener {
    uint32_t attached = 0;  // routes
    const GatewayRoute* last = nullptr;
    // Why it is not served: a reason of the specification; null: it is.
    const char* conflict = nullptr;
    std::string problem;  // in words; without `conflict`: why it cannot end TLS
  };

  std::vector<Attachment> attachments;
  // Of routes whose references were looked at.
  std::map<std::pair<const GatewayRoute*, Grants>, RefusedReference> references;
  std::map<const Gateway::Listener*, Listener> listeners;

  void note(const GatewayRoute& route, const GatewayRoute::Parent& parent, Fit fit) {
    attachments.push_back({&route, &parent, fit});
  }
  // All of one route come before those of the next.
  void attach(const GatewayRoute& route, const Gateway::Listener& listener) {
    Listener& row = listeners[&listener];
    if (std::exchange(row.last, &route) != &route) ++row.attached;
  }
  void refuse(const Gateway::Listener& listener, const char* reason, std::string problem) {
    Listener& row = listeners[&listener];
    row.conflict = reason;
    row.problem = std::move(problem);
  }
};

}  // namespace weft::control_plane
