// DownstreamStream: one request and its response as a client's connection carries them. The exchange tells
// its story on this interface; the session implements it, for HTTP/1 in http1_downstream_stream.h and for
// HTTP/2 in its connection. Lives as long as its exchange. Worker thread only.
#pragma once

#include "userspace-proxy/http/message_stream.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {

class DownstreamStream {
 public:
  virtual ~DownstreamStream() = default;

  // Reads and parses the request's head: true when that is over at once, else the operation runs when it is.
  // Then request_status() is anything but kWaiting. HTTP/2 has the head already.
  virtual bool read_request(Operation& operation) = 0;
  virtual HeadStatus request_status() const = 0;
  // Something of a request came, so that its end deserves a record, and an answer where there is one.
  virtual bool request_started() const = 0;
  // Whole with kComplete; with kBad as far as it was understood, so that it can be recorded. Views valid
  // until this object ends. The exchange may rewrite the target.
  virtual RequestHead& request() = 0;
  virtual BodySource& request_body() = 0;

  // Heads for the client. Nothing is sent by these but by the next response().send(). An interim one (1xx but
  // 101, RFC 9110 §15.2) is sent with an empty send() that is not the last; it writes nothing for a client of
  // HTTP/1.0. Views in `head` are read during the call only.
  virtual void write_interim(const ResponseHead& head) = 0;
  virtual void write_response(const ResponseHead& head) = 0;
  // A whole response of ours: status of the outcome, x-weft-reason and a line of text; for gRPC, trailers.
  // Sent by an empty last send().
  virtual void write_local_reply(Outcome outcome) = 0;
  // The response that opens a tunnel (101 to an Upgrade, 2xx to CONNECT). From now on request_body() and
  // response() are the tunnel's bytes both ways; each ends with its own direction.
  virtual void write_tunnel_response(const ResponseHead& head) = 0;
  virtual BodySink& response() = 0;

  // Called once, when the exchange is over or given up: the stream closes, lingers, resets or goes on by what
  // it knows of both messages. A response that was cut short must be seen as such by the client.
  virtual void end(Outcome outcome) = 0;
};

}  // namespace weft::proxy
