// Http2DownstreamStream of http2_downstream_stream.h.
#include "userspace-proxy/session/http2_downstream_stream.h"

#include <charconv>
#include <cstring>

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

// What a gRPC client would make of this HTTP status (gRPC, doc/http-grpc-status-mapping.md).
std::string_view grpc_code(uint16_t status) {
  switch (status) {
    case 400:
    case 431:
      return "13";  // INTERNAL
    case 401:
      return "16";  // UNAUTHENTICATED
    case 403:
      return "7";  // PERMISSION_DENIED
    case 404:
    case 501:
      return "12";  // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return "14";  // UNAVAILABLE
    default:
      return "2";  // UNKNOWN
  }
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
  const auto type = text_->head.find("content-type");
  return status_ == HeadStatus::kComplete && type && type->starts_with("application/grpc");
}

void Http2DownstreamStream::write_local_reply(Outcome outcome) {
  const uint16_t status = proxy::status_of(outcome);
  const std::string_view reason = label(outcome);
  Http2Fields fields;
  if (is_grpc()) {
    fields.add_status(200);
    fields.add("content-type", "application/grpc");
    fields.add("grpc-status", grpc_code(status));
    fields.add("grpc-message", reason);
    fields.add("x-weft-reason", reason);
    return submit(fields, true);
  }
  fields.add_status(status);
  fields.add("x-weft-reason", reason);
  fields.add("content-type", "text/plain");
  constexpr std::string_view kFront = "weft: ";
  char* at = reply_.data();
  for (const std::string_view part : {kFront, reason, std::string_view("\n")}) {
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

void Http2DownstreamStream::write_tunnel_response(const ResponseHead&) {
  Http2Fields fields;
  fields.add_status(200);
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
  leave(outcome == Outcome::kDownstreamReset ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR);
}

}  // namespace weft::proxy
