// Sends requests through a proxy and compares what came out with what the strict reader finds in what went
// in. Shared by the framing tests with and without another server behind the proxy; every wait is bounded.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/proxy-engine/framing_reader.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {

// The upstream: keeps every whole request and answers it with 200 and its number in "X-Saw".
class FramingRecorder {
 public:
  FramingRecorder() : server_([this](TestConnection& connection) { serve(connection); }) {}

  const SocketAddress& address() const { return server_.address(); }
  std::vector<FramedRequest> since(size_t first);
  size_t count();
  // What arrived and was no HTTP/1 by the strict reader.
  std::vector<std::string> malformed();

 private:
  void serve(TestConnection& connection);

  std::mutex mutex_;
  std::vector<FramedRequest> seen_;
  std::vector<std::string> malformed_;
  TestServer server_;
};

struct FramingTotals {
  size_t variants = 0;
  size_t forwarded = 0;      // every request of the stream, marker included
  size_t refused = 0;        // answered with an error, or cut
  size_t sound_refused = 0;  // of those, streams that the strict reader finds sound
};

class FramingCheck {
 public:
  // Requests go to `proxy` and come out at `recorder`.
  FramingCheck(const SocketAddress& proxy, FramingRecorder& recorder) : proxy_(proxy), recorder_(recorder) {}

  // Sends the variant, torn in two at a place of its own, and, on the same connection, a marker request
  // behind it. Empty when all is well: what the upstream saw is what the client was answered for, each
  // request as the strict reader frames it, and in order; and everything else was refused and the connection
  // closed. Otherwise what is wrong.
  std::string run(const std::string& variant);

  const FramingTotals& totals() const { return totals_; }

 private:
  SocketAddress proxy_;
  FramingRecorder& recorder_;
  FramingTotals totals_;
};

}  // namespace weft::proxy
