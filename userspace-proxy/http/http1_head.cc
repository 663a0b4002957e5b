// parse_request and parse_response of http1_head.h: start line, fields, and from the fields themselves how
// the body is framed.
#include "userspace-proxy/http/http1_head.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "userspace-proxy/http/authority.h"
#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/framing.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The methods that are forwarded: those of RFC 9110 and of the registry's protocols that proxies carry.
bool is_method(std::string_view text) {
  static constexpr std::string_view kMethods[] = {
      "GET",         "POST",       "HEAD",       "PUT",   "DELETE",   "OPTIONS", "PATCH",
      "CONNECT",     "TRACE",      "COPY",       "LOCK",  "MKCOL",    "MOVE",    "PROPFIND",
      "PROPPATCH",   "SEARCH",     "UNLOCK",     "BIND",  "REBIND",   "UNBIND",  "ACL",
      "REPORT",      "MKACTIVITY", "CHECKOUT",   "MERGE", "M-SEARCH", "NOTIFY",  "SUBSCRIBE",
      "UNSUBSCRIBE", "PURGE",      "MKCALENDAR", "LINK",  "UNLINK",   "SOURCE"};
  return std::find(std::begin(kMethods), std::end(kMethods), text) != std::end(kMethods);
}

// "HTTP/1.0" or "HTTP/1.1"; the minor version, or nothing.
std::optional<uint8_t> http1_minor(std::string_view text) {
  if (text == "HTTP/1.1") return 1;
  if (text == "HTTP/1.0") return 0;
  return std::nullopt;
}

// The fields behind the start line. Each fills its line: a token, a colon, a value between optional white
// space, CRLF; the last line is empty. HeadText has seen to it that CR stands before LF only and that there
// are no other controls.
bool take_fields(std::string_view text, std::vector<Header>* headers) {
  headers->clear();
  size_t at = text.find('\n') + 1;
  while (true) {
    const size_t end = text.find('\r', at);
    if (end == std::string_view::npos) return false;
    if (end == at) return end + 2 == text.size();
    size_t colon = at;
    while (is_token_char(text[colon])) ++colon;
    if (colon == at || text[colon] != ':') return false;
    headers->push_back(Header{text.substr(at, colon - at), trim(text.substr(colon + 1, end - colon - 1))});
    at = end + 2;
  }
}

// method SP target SP version, with single spaces and nothing else (RFC 9112 §3).
bool take_request_line(std::string_view text, RequestHead* head) {
  constexpr size_t kVersionBytes = 8;
  const std::string_view line = text.substr(0, text.find('\r'));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.size() < space + 2 + kVersionBytes + 1) return false;
  head->method = line.substr(0, space);
  head->target = line.substr(space + 1, line.size() - space - 2 - kVersionBytes);
  const std::optional<uint8_t> minor = http1_minor(line.substr(line.size() - kVersionBytes));
  if (!minor || line[line.size() - kVersionBytes - 1] != ' ' || !is_method(head->method)) return false;
  head->minor_version = *minor;
  return true;
}

// version SP three digits, then SP and a reason or nothing (RFC 9112 §4).
bool take_status_line(std::string_view text, ResponseHead* head) {
  const std::string_view line = text.substr(0, text.find('\r'));
  constexpr size_t kReason = 12;
  if (line.size() < kReason || line[8] != ' ') return false;
  const std::optional<uint8_t> minor = http1_minor(line.substr(0, 8));
  if (!minor) return false;
  head->status = 0;
  for (const char c : line.substr(9, 3)) {
    if (c < '0' || c > '9') return false;
    head->status = static_cast<uint16_t>(head->status * 10 + (c - '0'));
  }
  if (line.size() > kReason && line[kReason] != ' ') return false;
  head->reason = line.substr(std::min(line.size(), kReason + 1));
  head->minor_version = *minor;
  return true;
}

bool keeps_alive(const std::vector<Header>& headers, uint8_t minor_version) {
  bool keep = minor_version >= 1;
  for (const Header& header : headers) {
    if (!equals_ignore_case(header.name, "connection")) continue;
    if (has_token(header.value, "close")) return false;
    if (has_token(header.value, "keep-alive")) keep = true;
  }
  return keep;
}

// "http://authority", then path and query as in the origin form, or no path.
bool split_absolute_form(std::string_view target, RequestHead* head) {
  const size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || !equals_ignore_case(target.substr(0, scheme), "http")) return false;
  std::string_view rest = target.substr(scheme + 3);
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  head->authority = rest.substr(0, end);
  rest.remove_prefix(end);
  if (!valid_authority(head->authority)) return false;
  if (rest.starts_with('/')) return split_origin_form(rest, head);
  // OPTIONS for the server as a whole, on its way through a proxy (RFC 9112 §3.2.4).
  head->path = rest.empty() && head->method == "OPTIONS" ? "*" : "/";
  if (!rest.empty()) head->query = rest.substr(1);
  return true;
}

// Splits the target into authority, path and query. False for what is no request target (RFC 9112 §3.2).
bool split_target(RequestHead* head) {
  if (!is_target_text(head->target)) return false;
  // Authority form (RFC 9112 §3.2.3): a tunnel has no path.
  if (head->method == "CONNECT") {
    head->authority = head->target;
    return head->target.find(':') != std::string_view::npos && valid_authority(head->target);
  }
  if (head->target.starts_with('/')) return split_origin_form(head->target, head);
  if (head->target != "*") return split_absolute_form(head->target, head);
  head->path = head->target;
  return head->method == "OPTIONS";
}

// One Host at most, exactly one in HTTP/1.1, and never one that contradicts an absolute target.
bool take_host(RequestHead* head) {
  const Header* host = nullptr;
  for (const Header& header : head->headers) {
    if (!equals_ignore_case(header.name, "host")) continue;
    if (host != nullptr) return false;
    host = &header;
  }
  if (host == nullptr) return head->minor_version == 0;
  if (!valid_authority(host->value)) return false;
  if (!head->authority.empty()) return same_authority(head->authority, host->value);
  head->authority = host->value;
  return true;
}

}  // namespace

bool wants_upgrade(const RequestHead& head) {
  const auto upgrade = head.find("upgrade");
  if (!upgrade || has_token(*upgrade, "h2c") || head.minor_version == 0) return false;
  for (const Header& header : head.headers) {
    if (equals_ignore_case(header.name, "connection") && has_token(header.value, "upgrade")) return true;
  }
  return false;
}

namespace {

// What a request says about its content and its target. A request that is refused here was never forwarded.
ParseResult take_framing_and_target(RequestHead* head) {
  const Framing framing = framing_of(head->headers);
  if (framing.kind == Framing::Kind::kBad) return ParseResult::kBad;
  // The upstream speaks to one that sends HTTP/1.1, and this client may not know chunks (RFC 9112 §6.1).
  const bool coded = framing.kind == Framing::Kind::kChunked || framing.kind == Framing::Kind::kOtherCoding;
  if (coded && head->minor_version == 0) return ParseResult::kBad;
  // RFC 9110 §9.3.6, §9.3.8: these have no content, and servers differ in what they make of one.
  const bool without_content = head->method == "CONNECT" || head->method == "TRACE";
  if (without_content && framing.has_content()) return ParseResult::kBad;
  if (!split_target(head) || !take_host(head)) return ParseResult::kBad;
  if (framing.kind == Framing::Kind::kOtherCoding) return ParseResult::kNotImplemented;
  head->content_length = framing.length;
  if (framing.has_content())
    head->body = framing.kind == Framing::Kind::kChunked ? BodyKind::kChunked : BodyKind::kLength;
  return ParseResult::kComplete;
}

}  // namespace

ParseResult parse_request(std::string_view text, RequestHead* head) {
  // The last request that used `head` may have been one of HTTP/2, whose scheme was a view of its own bytes.
  head->method = head->target = head->authority = head->path = head->query = head->protocol = {};
  head->scheme = "http";
  head->major_version = 1;
  head->body = BodyKind::kNone;
  head->content_length = 0;
  if (!take_request_line(text, head) || !take_fields(text, &head->headers)) return ParseResult::kBad;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  head->keep_alive = keeps_alive(head->headers, head->minor_version);
  const auto expect = head->find("expect");
  head->expect_continue = expect && head->minor_version > 0 && equals_ignore_case(*expect, "100-continue");
  return take_framing_and_target(head);
}

ParseResult parse_response(std::string_view text, bool request_was_head, ResponseHead* head) {
  if (!take_status_line(text, head) || !take_fields(text, &head->headers)) return ParseResult::kBad;
  head->major_version = 1;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  if (head->status < 100) return ParseResult::kBad;
  head->keep_alive = keeps_alive(head->headers, head->minor_version);
  const Framing framing = framing_of(head->headers);
  if (framing.kind == Framing::Kind::kBad || framing.kind == Framing::Kind::kOtherCoding)
    return ParseResult::kBad;
  if (framing.kind == Framing::Kind::kChunked && head->minor_version == 0) return ParseResult::kBad;
  head->content_length = framing.length;
  const bool interim = head->status < 200;
  // What such a head announces would be read as the next head (RFC 9110 §8.6 forbids it).
  if (interim && framing.has_content()) return ParseResult::kBad;
  // The head ends the message whatever it says (RFC 9112 §6.3, rule 1); a server that says otherwise may go
  // on, so the connection is not used again.
  if (head->status == 204 && framing.has_content()) head->keep_alive = false;
  const bool bodiless = request_was_head || interim || head->status == 204 || head->status == 304;
  if (bodiless || (framing.kind == Framing::Kind::kLength && framing.length == 0)) {
    head->body = BodyKind::kNone;
  } else if (framing.kind == Framing::Kind::kChunked) {
    head->body = BodyKind::kChunked;
  } else {
    head->body = framing.kind == Framing::Kind::kLength ? BodyKind::kLength : BodyKind::kUntilClose;
  }
  return ParseResult::kComplete;
}

}  // namespace weft::proxy
