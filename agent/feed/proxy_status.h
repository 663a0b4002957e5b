// What the rest of the agent may ask about the proxy: alive or not, its numbers, its generation. Implemented
// by TelemetryService, faked in tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "proto/weft/proxy/v1/telemetry.pb.h"

namespace weft::agent {

struct ProxyState {
  bool connected = false;
  // A beat came within the last 3 s.
  bool beating = false;
  bool draining = false;
  std::string version;
  uint32_t pid = 0;
  uint32_t workers = 0;
  std::string io;
  // Of the snapshot that every worker uses.
  uint64_t generation = 0;
};

class ProxyStatus {
 public:
  virtual ~ProxyStatus() = default;
  virtual ProxyState state() const = 0;
  // Asks the proxy; nullopt when it is absent or does not answer in time.
  virtual std::optional<proxy::v1::Metrics> metrics(std::chrono::milliseconds deadline) = 0;
};

}  // namespace weft::agent
