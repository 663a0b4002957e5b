// Http2Fields: pseudo-fields first, then what goes end to end.
#include "userspace-proxy/http/http2_fields.h"

#include <algorithm>

#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/websocket_key.h"

namespace weft::proxy {
namespace {

constexpr size_t kUsualFields = 24;

uint8_t* bytes_of(std::string_view text) {
  return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
}

// The target without what an absolute form has before its path; path and query lie one after the other in it.
std::string_view origin_form(const RequestHead& head) {
  if (head.target.starts_with('/') || head.target == "*") return head.target;
  const bool adjacent = head.query.data() == head.path.data() + head.path.size() + 1;
  return adjacent ? std::string_view(head.path.data(), head.path.size() + 1 + head.query.size()) : head.path;
}

// What an upgrade is to (RFC 8441 §4); empty for other requests and for CONNECT to an authority.
std::string_view tunnel_protocol(const RequestHead& head, const RequestForm& form) {
  if (!head.protocol.empty()) return head.protocol;
  if (!form.upgrade || head.method == "CONNECT") return {};
  const std::string_view asked = head.find("upgrade").value_or("");
  return equals_ignore_case(asked, kWebSocket) ? kWebSocket : asked;
}

}  // namespace

void Http2Fields::add(std::string_view name, std::string_view value) {
  if (fields_.empty()) fields_.reserve(kUsualFields);
  fields_.push_back(
      nghttp2_nv{bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
}

void Http2Fields::add_request(const RequestHead& head, const RequestForm& form) {
  const std::string_view protocol = tunnel_protocol(head, form);
  const bool to_authority = head.method == "CONNECT";
  add(":method", protocol.empty() ? head.method : "CONNECT");
  if (!protocol.empty()) add(":protocol", protocol);
  if (!to_authority) add(":scheme", head.scheme);
  add(":authority", head.authority.empty() ? form.fallback_host : head.authority);
  if (!to_authority) add(":path", origin_form(head));
  add_end_to_end(head.headers, protocol.empty() ? std::string_view() : "sec-websocket-key");
  const auto te = head.find("te");
  if (te && has_token(*te, "trailers")) add("te", "trailers");
}

void Http2Fields::add_response(const ResponseHead& head) {
  add_status(head.status);
  add_end_to_end(head.headers);
}

void Http2Fields::add_tunnel_response(const ResponseHead& head) {
  add_status(head.status == 101 ? 200 : head.status);
  add_end_to_end(head.headers, "sec-websocket-accept");
}

void Http2Fields::add_status(uint16_t status) {
  for (size_t i = status_.size(); i > 0; --i) {
    status_[i - 1] = static_cast<char>('0' + status % 10);
    status /= 10;
  }
  add(":status", std::string_view(status_.data(), status_.size()));
}

void Http2Fields::add_trailers(std::span<const Header> trailers) {
  for (const Header& trailer : trailers) {
    if (!forbidden_in_trailer(trailer.name)) add(trailer.name, trailer.value);
  }
}

void Http2Fields::add_end_to_end(const std::vector<Header>& headers, std::string_view but) {
  const bool connection = std::any_of(headers.begin(), headers.end(), [](const Header& header) {
    return equals_ignore_case(header.name, "connection");
  });
  for (const Header& header : headers) {
    if (is_connection_field(header.name) || equals_ignore_case(header.name, "host")) continue;
    if (connection && listed_in_connection(headers, header.name)) continue;
    if (!but.empty() && equals_ignore_case(header.name, but)) continue;
    add(header.name, header.value);
  }
}

}  // namespace weft::proxy
