// OwnResponse of own_response.h.
#include "userspace-proxy/exchange/own_response.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "userspace-proxy/http/grpc.h"
#include "userspace-proxy/http/reason_phrase.h"

namespace weft::proxy {
namespace {

// grpc-message is for people: more than this is no message.
constexpr size_t kMaxMessage = 512;

// Percent-encoding of gRPC's PROTOCOL-HTTP2: everything but visible ASCII and the space, and "%".
void append_message(std::string_view message, std::string* out) {
  constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : message.substr(0, kMaxMessage)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '%') {
      out->push_back(c);
    } else {
      out->append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
}

bool has_body(uint16_t status) { return status != 204 && status != 205 && status != 304; }

}  // namespace

void OwnResponse::begin(Outcome reason, uint16_t status) {
  text_.clear();
  head_.headers.clear();
  head_.status = status;
  head_.reason = reason_phrase(status);
  head_.body = BodyKind::kNone;
  head_.content_length = 0;
  body_.start({});
  add("x-weft-reason", label(reason));
}

void OwnResponse::start_trailers(Outcome reason, std::string_view status, std::string_view message) {
  begin(reason, 200);
  add("content-type", "application/grpc");
  add("grpc-status", status);
  append_message(message, &text_);
  if (!text_.empty()) add("grpc-message", text_);
}

void OwnResponse::start(const RequestHead& request, Outcome reason, uint16_t status, std::string_view body) {
  if (is_grpc_call(request)) return start_trailers(reason, grpc_status_of_http(status), body);
  begin(reason, status);
  if (!has_body(status)) return;
  std::array<char, 20> digits;
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), body.size()).ptr;
  text_.assign(digits.data(), static_cast<size_t>(end - digits.data()));
  if (!body.empty()) add("content-type", "text/plain");
  add("content-length", text_);
  head_.content_length = body.size();
  if (body.empty() || request.method == "HEAD") return;
  head_.body = BodyKind::kLength;
  body_.start(body);
}

void OwnResponse::start_http(Outcome reason, uint16_t status) {
  begin(reason, status);
  add("content-length", "0");
}

void OwnResponse::start_grpc(const RequestHead& request, Outcome reason, uint8_t status) {
  if (is_grpc_call(request)) return start_trailers(reason, grpc_status_text(status), label(reason));
  start(request, reason, http_of_grpc(status), {});
}

}  // namespace weft::proxy
