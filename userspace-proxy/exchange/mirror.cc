// Mirror of mirror.h. run() is the story: as an exchange's, without a client.
#include "userspace-proxy/exchange/mirror.h"

#include <array>
#include <charconv>

#include "userspace-proxy/exchange/context.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kShadow = "-shadow";

size_t text_bytes(const RequestHead& head) {
  size_t bytes = head.method.size() + head.target.size() + 2 * (head.authority.size() + kShadow.size());
  for (const Header& header : head.headers) bytes += header.name.size() + header.value.size();
  return bytes;
}

}  // namespace

Task Mirror::run() {
  if (begin()) {
    co_await step_;
    if (connected()) {
      send();
      co_await step_;
      while (is_interim()) {
        await_response();
        co_await step_;
      }
      if (response_began()) {
        drain();
        co_await response_pump_;
      }
    }
  }
}

Mirror::Mirror(ProxyContext& context, std::shared_ptr<CaptureOrigin> origin, const MirrorTarget& target,
               const RequestHead& head, std::string_view body, uint64_t limit_ms)
    : context_(context),
      origin_(std::move(origin)),
      target_(context.balancer),
      protocol_(target.protocol),
      dials_as_(target.dials_as),
      limit_ms_(limit_ms),
      text_(context.texts.take()),
      stream_request_(context.pool),
      request_pump_(context.loop, *this, context.share, origin_->share),
      response_pump_(context.loop, *this, context.share, origin_->share) {
  const DialTarget::Client client{target.dialled, origin_->netns_cookie(),
                                  source_of(*origin_, target.generation->snapshot()), true, std::nullopt};
  target_.aim(target.generation, target.cluster, client);
  copy(head, body);
  ++context_.mirrors.running_;
}

Mirror::~Mirror() {
  --context_.mirrors.running_;
  request_pump_.cancel();
  response_pump_.cancel();
  stream_request_.cancel();
  upstream_.reset();
  context_.texts.give(std::move(text_));
}

void Mirror::start() {
  context_.loop.arm(limit_, limit_ms_);
  task_ = run();
  task_.start(context_.loop, finished_);
}

bool Mirror::begin() {
  if (target_.pick(context_.loop.now()) != Outcome::kOk) return false;
  const ConnectionTermsPtr& terms = target_.terms();
  UpstreamKey key{target_.address(), origin_->netns_cookie(), protocol_, terms != nullptr ? terms->id : 0};
  DialParameters dial{origin_->netns.get(), target_.cluster().connect_timeout_ms, origin_->use.get(), terms};
  dial_as(dials_as_, key, dial);
  key.tunnelled = choose_tunnel(context_, *origin_, target_.snapshot(), target_.tunnel(), dial);
  choose_tls(context_, target_.tunnel() != nullptr, alpn_of(key.protocol), dial);
  step_.begin(stream_request_.start(step_.operation(), key, dial, StreamRequest::Wants{}));
  return true;
}

bool Mirror::connected() {
  if (step_.aborted() || stream_request_.status() != ConnectStatus::kConnected) return false;
  upstream_ = stream_request_.take();
  return true;
}

void Mirror::send() {
  upstream_->write_request(text_->head, RequestForm{});
  await_response();
  request_pump_.start(body_, upstream_->request(), Pump::Lead::kHead);
}

bool Mirror::is_interim() {
  if (step_.aborted() || upstream_->response_status() != HeadStatus::kComplete) return false;
  return upstream_->response().status < 200;
}

bool Mirror::response_began() const {
  return !step_.aborted() && upstream_->response_status() == HeadStatus::kComplete;
}

// Ends what is awaited; run() ends with it.
void Mirror::on_limit() {
  request_pump_.cancel();
  if (step_.waiting()) return step_.abort();
  response_pump_.abort();
}

void Mirror::copy(const RequestHead& head, std::string_view body) {
  std::string* text = &text_->out;
  text->clear();
  text->reserve(text_bytes(head) + body.size() + 20);
  const auto keep = [text](std::string_view piece) {
    const size_t at = text->size();
    text->append(piece);
    return std::string_view(*text).substr(at);
  };
  RequestHead& out = text_->head;
  out.headers.clear();
  out.method = keep(head.method);
  out.target = keep(head.target);
  const size_t at = text->size();
  append_shadow_authority(head.authority, text);
  out.authority = std::string_view(*text).substr(at);
  out.path = out.query = {};
  out.scheme = head.scheme == "https" ? "https" : "http";
  out.protocol = {};
  out.major_version = head.major_version;
  out.minor_version = head.minor_version;
  out.body = body.empty() ? BodyKind::kNone : BodyKind::kLength;
  out.content_length = body.size();
  for (const Header& header : head.headers) {
    const bool host = equals_ignore_case(header.name, "host");
    // The body is here: its length is written anew.
    if (equals_ignore_case(header.name, "content-length") || equals_ignore_case(header.name, "expect"))
      continue;
    out.headers.push_back(Header{keep(header.name), host ? out.authority : keep(header.value)});
  }
  body_.start(keep(body));
  if (body.empty()) return;
  std::array<char, 20> digits;
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), body.size()).ptr;
  out.headers.push_back(
      Header{"content-length", keep({digits.data(), static_cast<size_t>(end - digits.data())})});
}

void append_shadow_authority(std::string_view authority, std::string* out) {
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  const bool port = colon != std::string_view::npos && (bracket == std::string_view::npos || bracket < colon);
  const size_t end = port ? colon : authority.size();
  out->append(authority.substr(0, end)).append(kShadow).append(authority.substr(end));
}

void MirrorSet::start(ProxyContext& context, const std::shared_ptr<CaptureOrigin>& origin,
                      const MirrorTarget& target, const RequestHead& head, std::string_view body,
                      uint64_t limit_ms) {
  if (running_ >= kMaxRunning || target.cluster == kNone) return;
  auto* mirror = new Mirror(context, origin, target, head, body, limit_ms);
  mirrors_.push_back(*mirror);
  mirror->start();
}

void MirrorSet::cancel_all() {
  while (Mirror* mirror = mirrors_.front()) delete mirror;
}

}  // namespace weft::proxy
