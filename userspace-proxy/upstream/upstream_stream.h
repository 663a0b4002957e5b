// UpstreamStream: one request and its response on a connection to an endpoint. Handed out by the pool
// (pool.h), implemented for HTTP/1 in http1_upstream.h and for HTTP/2 by its multiplexed connection; called
// by the exchange. Worker thread only.
#pragma once

#include <memory>

#include "userspace-proxy/http/message_stream.h"

namespace weft::proxy {

// What a request that got no response may do next.
enum class Unanswered : uint8_t {
  kFinal,    // it may have been processed: never repeated
  kStale,    // a connection that served before ended without a byte: repeat what is idempotent (RFC 9112
             // §9.3.1)
  kRefused,  // not processed, for certain (RFC 9113 §8.7): repeat anything whose payload is still here
};

class UpstreamStream {
 public:
  // The head waits for the first send() of request(). Views in `head` are read during the call only.
  virtual void write_request(const RequestHead& head, const RequestForm& form) = 0;
  virtual BodySink& request() = 0;

  // Reads one head, interim ones (1xx) included: call again after those. True when that is over at once, else
  // the operation runs when it is; cancelling that ends the wait. `*head` stays as long as the stream.
  virtual bool read_response(Operation& operation) = 0;
  virtual HeadStatus response_status() const = 0;
  virtual const ResponseHead& response() const = 0;
  // With kClosed: whether the request may be sent once more, elsewhere.
  virtual Unanswered unanswered() const = 0;
  // After the final head.
  virtual BodySource& response_body() = 0;

  // The final head agrees to the tunnel that the request asked for (101, or 2xx to CONNECT).
  virtual bool opens_tunnel() const = 0;
  // Then, if the client gets it: request() and response_body() are the tunnel's bytes from now on.
  virtual void start_tunnel() = 0;
  // Runs when the peer reset the stream or its connection; for tunnels, in which nobody may be reading.
  virtual void watch_reset(Operation& operation) = 0;

  // Ends the use of it: back to its connection and pool when both messages are whole, else closed. With
  // `reset` the server sees RST (HTTP/2: RST_STREAM), as it would see a client's. The object may be gone
  // afterwards.
  virtual void release(bool reset) = 0;

 protected:
  virtual ~UpstreamStream() = default;
};

struct ReleaseStream {
  void operator()(UpstreamStream* stream) const { stream->release(false); }
};
using UpstreamStreamPtr = std::unique_ptr<UpstreamStream, ReleaseStream>;

}  // namespace weft::proxy
