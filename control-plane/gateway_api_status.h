// What objects of the Gateway API are told about themselves: conditions of Gateways, listeners and of routes
// at their parents (https://gateway-api.sigs.k8s.io/reference/spec/, status). The compiler says it, and
// status/gateway_conditions.h makes JSON of it. Plain data, never changed after it was made.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control-plane/resource/objects.h"

namespace weft::control_plane {

struct GatewayApiStatus {
  struct Condition {
    const char* type = "";    // "Accepted"
    bool holds = true;        // status True, else False
    const char* reason = "";  // of the specification where it has one
    std::string message;

    bool operator==(const Condition& other) const {
      return std::string_view(type) == other.type && holds == other.holds &&
             std::string_view(reason) == other.reason && message == other.message;
    }
  };
  struct Parent {
    size_t index = 0;  // in spec.parentRefs
    std::vector<Condition> conditions;
    bool operator==(const Parent&) const = default;
  };
  struct Route {
    int64_t generation = 0;  // metadata.generation of what this is about
    // Those that are Weft's: Gateways of its class, and Services.
    std::vector<Parent> parents;
    bool operator==(const Route&) const = default;
  };
  struct Listener {
    std::string name;
    uint32_t attached_routes = 0;
    std::vector<std::string> kinds;  // of routes that may attach
    std::vector<Condition> conditions;
    bool operator==(const Listener&) const = default;
  };
  struct Gateway {
    int64_t generation = 0;
    std::vector<Condition> conditions;
    std::vector<Listener> listeners;
    bool operator==(const Gateway&) const = default;
  };

  // By name: of each kind of routes, and of the class of Weft.
  std::map<ObjectKey, Route> routes;
  std::map<ObjectKey, Gateway> gateways;

  bool operator==(const GatewayApiStatus&) const = default;
};

}  // namespace weft::control_plane
