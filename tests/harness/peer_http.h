// The HTTP mode of weft-test-peer; see peer_http.cc.
#pragma once

namespace weft::harness {

class Stream;

// Serves one connection until it closes.
void serve_http(Stream& stream);

}  // namespace weft::harness
