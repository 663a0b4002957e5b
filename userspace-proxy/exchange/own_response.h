// A response that the proxy makes because a route says so: head and body, for HTTP or, when the client speaks
// gRPC, as trailers only. Reused by its owner: keeps its memory. Worker thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace-proxy/exchange/text_source.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {

class OwnResponse {
 public:
  // `reason` goes into x-weft-reason. `body` stays as long as this; it is left out of what has none.
  void start(const RequestHead& request, Outcome reason, uint16_t status, std::string_view body);
  // The same for everybody and without a body: a redirect.
  void start_http(Outcome reason, uint16_t status);
  // gRPC's status; translated for a client that speaks none.
  void start_grpc(const RequestHead& request, Outcome reason, uint8_t status);
  // The views stay as long as this, or are of what does.
  void add(std::string_view name, std::string_view value) { head_.headers.push_back(Header{name, value}); }

  ResponseHead& head() { return head_; }
  BodySource& body() { return body_; }

 private:
  void begin(Outcome reason, uint16_t status);
  void start_trailers(Outcome reason, std::string_view status, std::string_view message);

  ResponseHead head_;
  std::string text_;  // of fields that were made here
  TextSource body_;
};

}  // namespace weft::proxy
