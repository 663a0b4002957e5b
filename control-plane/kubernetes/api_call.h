// One request to an API server, waited for: what programs ask that do not watch. Not for an agent's threads.
#pragma once

#include <chrono>
#include <string>

#include "control-plane/kubernetes/api_client.h"

namespace weft::control_plane {

struct ApiAnswer {
  ApiEnd end;
  std::string body;

  bool ok() const { return end.ok(); }
};

inline constexpr std::chrono::milliseconds kCallDeadline{15'000};
inline constexpr size_t kMaxCallBytes = 32u << 20;

// Ends after kCallDeadline at the latest; an answer over kMaxCallBytes is one that failed.
ApiAnswer call(ApiClient& client, std::string path, std::string post = "");

}  // namespace weft::control_plane
