// The HTTP mode of weft-test-peer; see peer_http.cc.
#pragma once

namespace weft::harness {

class Stream;

// Serves one connection until it closes.
void serve_http(Stream& stream);
// The same with a count of what came, by method: /503… is answered with 503 after five milliseconds of work,
// /drop… not at all, but by the end of the connection; /count says "GET 12\nPOST 3\nshadow 4\n", where shadow
// are those with "-shadow" in their Host. Does not count /count.
void serve_counting(Stream& stream);

}  // namespace weft::harness
