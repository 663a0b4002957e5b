// Http2DownstreamStream of http2_downstream_stream.h.
#include "userspace-proxy/session/http2_downstream_stream.h"

#include <charconv>
#include <cstring>
#include <utility>

#include "userspace-proxy/http/grpc.h"
#include "userspace-proxy/http/http2_head.h"

namespace weft::proxy {
namespace {

HeadStatus status_of(ParseResult result) {
  switch (result) {
    case ParseResult::kComplete:
      return HeadStatus::kComplete;
    case ParseResult::kTooLarge:
      return HeadStatus::kTooLarge;
    case ParseResult::kNotImplemented:
      return HeadStatus::kNotImplemented;
    case ParseResult::kBad:
    case ParseResult::kNeedMore:
      return HeadStatus::kBad;
  }
  return HeadStatus::kBad;
}

std::string_view grpc_status_of(Outcome outcome) {
  if (outcome == Outcome::kDeadlineExceeded || outcome == Outcome::kTimeout) return kGrpcDeadlineExceeded;
  return grpc_status_of_http(proxy::status_of(outcome));
}

void add_grpc_status(Outcome outcome, Http2Fields* fields) {
  fields->add("grpc-status", grpc_status_of(outcome));
  fields->add("grpc-message", label(outcome));
}

}  // namespace

Http2DownstreamStream::Http2DownstreamStream(ProxyContext& context, Http2Transport& transport, Host& host)
    : Http2Message(transport), context_(context), host_(host), text_(context.texts.take()) {
  // The text is used again: nothing of the last request must show in this one's record.
  RequestHead& request = text_->head;
  request.method = request.authority = request.path = {};
  request.major_version = 2;
}

Http2DownstreamStream::~Http2DownstreamStream() { context_.texts.give(std::move(text_)); }

void Http2DownstreamStream::adopt(Http1TextPool<RequestHead>::Text text) {
  context_.texts.give(std::exchange(text_, std::move(text)));
  status_ = HeadStatus::kComplete;
  came_whole();
}

void Http2DownstreamStream::head_arrived(bool last) {
  status_ = status_of(make_request(head_block(), last, &text_->head));
  host_.request_arrived();
}

void Http2DownstreamStream::closed_by(Http2StreamEnd end) {
  if (end != Http2StreamEnd::kComplete) host_.stream_lost(end);
}

void Http2DownstreamStream::write_interim(const ResponseHead& head) {
  Http2Fields fields;
  fields.add_response(head);
  if (attached()) session()->send_interim(*this, fields);
}

void Http2DownstreamStream::submit(const Http2Fields& fields, bool last) {
  if (attached()) session()->send_response(*this, fields, last);
  head_submitted(last);
}

void Http2DownstreamStream::write_response(const ResponseHead& head) {
  Http2Fields fields;
  fields.add_response(head);
  submit(fields, head.body == BodyKind::kNone);
}

bool Http2DownstreamStream::is_grpc() const {
  return status_ == HeadStatus::kComplete && is_grpc_call(text_->head);
}

void Http2DownstreamStream::write_local_reply(Outcome outcome) {
  const uint16_t status = proxy::status_of(outcome);
  const std::string_view reason = label(outcome);
  Http2Fields fields;
  if (is_grpc()) {
    fields.add_status(200);
    fields.add("content-type", "application/grpc");
    add_grpc_status(outcome, &fields);
    fields.add("x-weft-reason", reason);
    return submit(fields, true);
  }
  fields.add_status(status);
  fields.add("x-weft-reason", reason);
  if (!challenge(outcome).empty()) fields.add("www-authenticate", challenge(outcome));
  fields.add("content-type", "text/plain");
  char* at = reply_.data();
  for (const std::string_view part : reply_body(outcome)) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  reply_size_ = static_cast<size_t>(at - reply_.data());
  std::array<char, 4> digits;
  char* end = std::to_chars(digits.data(), digits.data() + digits.size(), reply_size_).ptr;
  fields.add("content-length", std::string_view(digits.data(), static_cast<size_t>(end - digits.data())));
  const bool head_only = status_ == HeadStatus::kComplete && request().method == "HEAD";
  if (head_only) reply_size_ = 0;
  submit(fields, head_only);
}

void Http2DownstreamStream::write_tunnel_response(const ResponseHead& head) {
  tunnel_ = true;
  Http2Fields fields;
  fields.add_tunnel_response(head);
  submit(fields, false);
}

bool Http2DownstreamStream::send(Operation& operation, Pieces& pieces, bool last,
                                 std::span<const Header> trailers) {
  if (reply_size_ > 0) pieces.frame_back(std::string_view(reply_.data(), reply_size_));
  reply_size_ = 0;
  return Http2Message::send(operation, pieces, last, trailers);
}

void Http2DownstreamStream::end(Outcome outcome) {
  if (sent_whole()) return leave(NGHTTP2_NO_ERROR);
  if (outcome == Outcome::kDeadlineExceeded && is_grpc() && attached()) {
    Http2Fields trailers;
    add_grpc_status(outcome, &trailers);
    if (session()->cut_response(*this, trailers)) return leave(NGHTTP2_NO_ERROR);
  }
  if (outcome == Outcome::kDownstreamReset) return leave(NGHTTP2_CANCEL);
  leave(tunnel_ ? NGHTTP2_CONNECT_ERROR : NGHTTP2_INTERNAL_ERROR);
}

}  // namespace weft::proxy
