// parse_request and parse_response of http1_head.h. llhttp checks tokens, methods, versions and field syntax;
// how the body is framed is decided here, from the fields themselves, so that there is one place to read.
#include "userspace-proxy/http/http1_head.h"

#include <llhttp.h>

#include <algorithm>

#include "userspace-proxy/http/authority.h"
#include "userspace-proxy/http/framing.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

struct HeadParser {
  llhttp_t llhttp{};
  std::vector<Header>* headers = nullptr;
  std::string_view target, reason, name, value;
  bool torn = false;
};

HeadParser& self(llhttp_t* parser) { return *static_cast<HeadParser*>(parser->data); }

// llhttp may hand out one element in pieces; in one contiguous text they are neighbours.
void extend(HeadParser& parser, std::string_view& view, const char* at, size_t length) {
  if (view.data() == nullptr || view.empty()) {
    view = std::string_view(at, length);
  } else if (view.data() + view.size() == at) {
    view = std::string_view(view.data(), view.size() + length);
  } else {
    parser.torn = true;
  }
}

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

llhttp_settings_t make_settings() {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = [](llhttp_t* p, const char* at, size_t n) noexcept {
    extend(self(p), self(p).target, at, n);
    return 0;
  };
  settings.on_status = [](llhttp_t* p, const char* at, size_t n) noexcept {
    extend(self(p), self(p).reason, at, n);
    return 0;
  };
  settings.on_header_field = [](llhttp_t* p, const char* at, size_t n) noexcept {
    extend(self(p), self(p).name, at, n);
    return 0;
  };
  settings.on_header_value = [](llhttp_t* p, const char* at, size_t n) noexcept {
    extend(self(p), self(p).value, at, n);
    return 0;
  };
  settings.on_header_value_complete = [](llhttp_t* p) noexcept {
    HeadParser& parser = self(p);
    parser.torn = parser.torn || parser.name.empty();
    parser.headers->push_back(Header{parser.name, trim(parser.value)});
    parser.name = parser.value = {};
    return 0;
  };
  settings.on_headers_complete = [](llhttp_t*) noexcept { return static_cast<int>(HPE_PAUSED); };
  return settings;
}

// Every field fills its line: name, colon, value between optional white space, CRLF, the next. What llhttp
// read otherwise (8.1 takes an empty name) would be a field for the next hop and none for us.
bool fields_fill_lines(std::string_view text, const std::vector<Header>& headers) {
  size_t at = text.find('\n') + 1;
  for (const Header& header : headers) {
    if (header.name.data() != text.data() + at) return false;
    at += header.name.size();
    if (at >= text.size() || text[at++] != ':') return false;
    while (at < text.size() && is_space(text[at])) ++at;
    if (!header.value.empty()) {
      if (header.value.data() != text.data() + at) return false;
      at += header.value.size();
      while (at < text.size() && is_space(text[at])) ++at;
    }
    if (text.substr(at, 2) != "\r\n") return false;
    at += 2;
  }
  return text.substr(at) == "\r\n";
}

bool run(HeadParser& parser, llhttp_type_t type, std::string_view text) {
  static const llhttp_settings_t kSettings = make_settings();
  llhttp_init(&parser.llhttp, type, &kSettings);
  parser.llhttp.data = &parser;
  parser.headers->clear();
  const llhttp_errno_t error = llhttp_execute(&parser.llhttp, text.data(), text.size());
  if (error != HPE_PAUSED || parser.torn || !fields_fill_lines(text, *parser.headers)) return false;
  return parser.llhttp.http_major == 1 && parser.llhttp.http_minor <= 1;
}

bool is_http1_version(std::string_view text) { return text == "HTTP/1.1" || text == "HTTP/1.0"; }

// method SP target SP version, with single spaces and nothing else (RFC 9112 §3).
bool take_request_line(std::string_view text, std::string_view target, RequestHead* head) {
  constexpr size_t kVersionBytes = 8;
  const std::string_view line = text.substr(0, text.find('\r'));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.size() < space + 2 + kVersionBytes + 1) return false;
  head->method = line.substr(0, space);
  head->target = line.substr(space + 1, line.size() - space - 2 - kVersionBytes);
  if (head->target.data() != target.data() || head->target.size() != target.size()) return false;
  return line[line.size() - kVersionBytes - 1] == ' ' &&
         is_http1_version(line.substr(line.size() - kVersionBytes));
}

// version SP three digits, then SP and a reason or nothing (RFC 9112 §4).
bool is_status_line(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\r'));
  const auto digit = [&](size_t at) { return line[at] >= '0' && line[at] <= '9'; };
  return line.size() >= 12 && is_http1_version(line.substr(0, 8)) && line[8] == ' ' && digit(9) &&
         digit(10) && digit(11) && (line.size() == 12 || line[12] == ' ');
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

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (equals_ignore_case(trim(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

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
  HeadParser parser;
  parser.headers = &head->headers;
  // The last request that used `head` may have been one of HTTP/2, whose scheme was a view of its own bytes.
  head->method = head->target = head->authority = head->path = head->query = head->protocol = {};
  head->scheme = "http";
  head->major_version = 1;
  head->body = BodyKind::kNone;
  head->content_length = 0;
  if (!run(parser, HTTP_REQUEST, text)) return ParseResult::kBad;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  if (!take_request_line(text, parser.target, head)) return ParseResult::kBad;
  head->minor_version = parser.llhttp.http_minor;
  head->keep_alive = keeps_alive(head->headers, head->minor_version);
  const auto expect = head->find("expect");
  head->expect_continue = expect && head->minor_version > 0 && equals_ignore_case(*expect, "100-continue");
  return take_framing_and_target(head);
}

ParseResult parse_response(std::string_view text, bool request_was_head, ResponseHead* head) {
  HeadParser parser;
  parser.headers = &head->headers;
  if (!run(parser, HTTP_RESPONSE, text) || !is_status_line(text)) return ParseResult::kBad;
  head->major_version = 1;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  head->status = parser.llhttp.status_code;
  if (head->status < 100) return ParseResult::kBad;
  head->reason = parser.reason;
  head->minor_version = parser.llhttp.http_minor;
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
