// Heads to HTTP/2 fields (RFC 9113 §8.2-8.3), the way out: what belongs to one connection is left out, the
// rest keeps its order. Views of the head; nghttp2 copies them, and lowers the names, when they are
// submitted.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/net/frame_allocator.h"

namespace weft::proxy {

class Http2Fields {
 public:
  void clear() { fields_.clear(); }
  // The strings must stay until the fields are submitted.
  void add(std::string_view name, std::string_view value);
  void add_request(const RequestHead& head, const RequestForm& form);
  void add_response(const ResponseHead& head);
  // Of the response that agrees to a tunnel, also when it is HTTP/1's 101.
  void add_tunnel_response(const ResponseHead& head);
  void add_status(uint16_t status);
  // What may be forwarded of a trailer section.
  void add_trailers(std::span<const Header> trailers);

  std::span<const nghttp2_nv> span() const { return fields_; }

 private:
  void add_end_to_end(const std::vector<Header>& headers, std::string_view but = {});

  PooledVector<nghttp2_nv> fields_;
  std::array<char, 3> status_{};
};

}  // namespace weft::proxy
