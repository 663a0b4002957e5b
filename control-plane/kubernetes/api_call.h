// One request to an API server, waited for: what programs ask that do not watch. Not for an agent's threads.
#pragma once

#include <chrono>
#include <string>

#include "control-plane/kubernetes/api_client.h"

namespace weft::control_plane {

struct ApiAnswer {
  ApiEnd end;
  std::string body;
  bool too_long = false;

  bool ok() const { return end.ok(); }
};

inline constexpr std::chrono::milliseconds kCallDeadline{15'000};
inline constexpr size_t kMaxCallBytes = 32u << 20;

// Ends at the request's deadline; an answer of more bytes is one that failed.
ApiAnswer call(ApiClient& client, const ApiRequest& request, size_t most_bytes);
// GET, or POST with a body, within kCallDeadline and kMaxCallBytes.
ApiAnswer call(ApiClient& client, std::string path, std::string post = "");

}  // namespace weft::control_plane
