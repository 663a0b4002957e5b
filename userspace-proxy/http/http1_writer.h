// Heads to bytes, for the next hop: everything is kept in order, but for what belongs to one connection only
// (RFC 9110 §7.6.1), which is removed and written anew. Used by the exchange; appends to its scratch text,
// which keeps its memory.
#pragma once

#include <string>
#include <string_view>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {

void write_request_head(const RequestHead& head, const RequestForm& form, std::string* out);

struct ResponseForm {
  uint8_t client_minor_version = 1;
  bool close = false;
  bool upgrade = false;
  bool chunked = false;  // body goes out chunked
};

void write_response_head(const ResponseHead& head, const ResponseForm& form, std::string* out);

// A whole response of ours: status of the outcome, x-weft-reason and a line of text.
void write_local_reply(Outcome outcome, bool close, bool head_only, std::string* out);

}  // namespace weft::proxy
