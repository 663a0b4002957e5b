// Finds the weights of one route in a manifest's text, and changes their digits and nothing else. Pure; used
// by `weft canary`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::cli {

struct WeightPlace {
  std::string
      host;  // as the manifest has it; of a backendRef "<name>", with a namespace "<name>.<namespace>"
  std::string subset;  // may be empty
  uint32_t weight = 0;
  size_t offset = 0, length = 0;  // of its digits, bytes of the text
  uint32_t line = 0;              // 1-based

  // "v2"; the host's first label where there is no subset.
  std::string label() const { return subset.empty() ? host.substr(0, host.find('.')) : subset; }
};

struct RoutePlace {
  std::string kind;      // VirtualService, HTTPRoute or GRPCRoute
  std::string ns, name;  // of the object
  std::string route;     // its name, or "http[0]", "rules[0]"
  uint32_t line = 0;     // of the item of spec.http or spec.rules
  std::vector<WeightPlace> destinations;
  size_t canary = 0;  // the destination that the weights are shifted to
};

struct RouteQuery {
  std::string route;  // name of an item of spec.http or spec.rules; empty: any
  std::string host;   // one of spec.hosts or spec.hostnames, or a parent's name; empty: any
  std::string to;     // subset, or host of a destination, or name of a backendRef
};

// The one route with several destinations, one of them `to`. Errors say what there is instead.
absl::StatusOr<RoutePlace> find_route(const std::string& text, const RouteQuery& query);

// Weights of all destinations when the canary takes `percent`: the others share the rest as they share it in
// `place`, evenly when they have nothing. They add up to 100.
std::vector<uint32_t> shifted_weights(const RoutePlace& place, uint32_t percent);

// `text` is the one that `place` was found in.
std::string with_weights(const std::string& text, const RoutePlace& place,
                         const std::vector<uint32_t>& weights);

// "v1 95, v2 5".
std::string weights_text(const RoutePlace& place, const std::vector<uint32_t>& weights);

}  // namespace weft::cli
