// The exchanges that weft-engine-cost plays: what common clients and servers put on the wire.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace weft::proxy {

struct Recorded {
  std::string name;      // of the case, in cost.json too
  std::string request;   // as the client sends it
  std::string response;  // as the upstream sends it; always a 200 that keeps the connection
};

std::vector<Recorded> recorded_exchanges();

// One of an HTTP/2 client, as fields and bodies: bytes depend on what the connection's tables hold.
struct RecordedHttp2 {
  using Fields = std::vector<std::pair<std::string, std::string>>;
  std::string name;
  Fields request;
  std::string request_body;
  // Of an HTTP/1 upstream, whole; where it is empty, the upstream speaks HTTP/2 and sends what follows.
  std::string http1_response;
  Fields response, trailers;
  std::string response_body;
};

std::vector<RecordedHttp2> recorded_http2_exchanges();

}  // namespace weft::proxy
