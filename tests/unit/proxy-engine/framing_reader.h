// A second reading of HTTP/1 requests, written from RFC 9112 and apart from the proxy's, for tests only: what
// one byte stream holds, by the strict letter. Slow and simple, so that it can be checked by eye.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weft::proxy {

struct FramedRequest {
  std::string method, target, body;
  bool last = false;  // the connection is not used after it
  bool operator==(const FramedRequest&) const = default;
};

struct FramedStream {
  enum class End : unsigned char {
    kClean,       // after a request
    kIncomplete,  // inside one
    kBad,         // what follows the requests is none
  };
  std::vector<FramedRequest> requests;  // whole ones
  size_t consumed = 0;                  // their bytes
  End end = End::kClean;
};

// Reads until the first request that is the connection's last, is not whole, or is malformed.
FramedStream read_framed(std::string_view bytes);

}  // namespace weft::proxy
