// parse_request and parse_response of http1_head.h. llhttp checks tokens, methods, versions and field syntax;
// how the body is framed is decided here, from the fields themselves, so that there is one place to read.
#include "userspace-proxy/http/http1_head.h"

#include <llhttp.h>

#include <algorithm>

#include "base/strings.h"

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

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
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

bool run(HeadParser& parser, llhttp_type_t type, std::string_view text) {
  static const llhttp_settings_t kSettings = make_settings();
  llhttp_init(&parser.llhttp, type, &kSettings);
  parser.llhttp.data = &parser;
  parser.headers->clear();
  const llhttp_errno_t error = llhttp_execute(&parser.llhttp, text.data(), text.size());
  if (error != HPE_PAUSED || parser.torn) return false;
  // One field per line between start line and empty line: a line that llhttp read otherwise (8.1 takes an
  // empty name) would be a field for the next hop and none for us.
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  if (lines != parser.headers->size() + 2) return false;
  return parser.llhttp.http_major == 1 && parser.llhttp.http_minor <= 1;
}

struct Framing {
  bool chunked = false;
  bool other_coding = false;
  bool length_seen = false;
  uint64_t length = 0;
  bool bad = false;
};

// RFC 9112 §6.1-6.3, the strict reading: one Content-Length, one "chunked", never both.
Framing framing_of(const std::vector<Header>& headers) {
  Framing framing;
  for (const Header& header : headers) {
    if (equals_ignore_case(header.name, "content-length")) {
      const auto length = parse_integer<uint64_t>(header.value);
      // The top bit stays free for arithmetic on positions.
      if (!length || *length > (uint64_t{1} << 62) || framing.length_seen) framing.bad = true;
      framing.length_seen = true;
      framing.length = length.value_or(0);
    } else if (equals_ignore_case(header.name, "transfer-encoding")) {
      if (framing.chunked || framing.other_coding) framing.bad = true;
      if (equals_ignore_case(header.value, "chunked")) {
        framing.chunked = true;
      } else {
        framing.other_coding = true;
      }
    }
  }
  if (framing.length_seen && (framing.chunked || framing.other_coding)) framing.bad = true;
  return framing;
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

// Host is a reg-name or address with optional port (RFC 9110 §7.2): what could be read as something else is
// refused.
bool valid_authority(std::string_view authority) {
  for (const char c : authority) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= ' ' || u >= 0x7f || c == '/' || c == '@' || c == '?' || c == '#' || c == '\\' || c == ',')
      return false;
  }
  return true;
}

// Splits the target into authority, path and query. False for what is no request target (RFC 9112 §3.2).
bool split_target(RequestHead* head) {
  std::string_view rest = head->target;
  if (rest.empty() || rest.find('#') != std::string_view::npos) return false;
  // Authority form (RFC 9112 §3.2.3): a tunnel has no path.
  if (head->method == "CONNECT") {
    head->authority = rest;
    return rest.find(':') != std::string_view::npos && valid_authority(rest);
  }
  if (rest == "*") {
    head->path = rest;
    return head->method == "OPTIONS";
  }
  if (rest.front() != '/') {
    const size_t scheme = rest.find("://");
    if (scheme == std::string_view::npos || !equals_ignore_case(rest.substr(0, scheme), "http")) return false;
    rest.remove_prefix(scheme + 3);
    const size_t end = rest.find_first_of("/?");
    head->authority = rest.substr(0, end);
    if (head->authority.empty() || !valid_authority(head->authority)) return false;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  }
  const size_t question = rest.find('?');
  head->path = rest.substr(0, question);
  if (head->path.empty()) head->path = "/";
  if (question != std::string_view::npos) head->query = rest.substr(question + 1);
  return true;
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
  if (!head->authority.empty()) return equals_ignore_case(head->authority, host->value);
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

ParseResult parse_request(std::string_view text, RequestHead* head) {
  HeadParser parser;
  parser.headers = &head->headers;
  if (!run(parser, HTTP_REQUEST, text)) return ParseResult::kBad;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return ParseResult::kBad;
  head->method = text.substr(0, space);
  head->target = parser.target;
  head->authority = head->path = head->query = {};
  head->minor_version = parser.llhttp.http_minor;
  head->keep_alive = keeps_alive(head->headers, head->minor_version);
  head->body = BodyKind::kNone;
  head->content_length = 0;
  const auto expect = head->find("expect");
  head->expect_continue = expect && head->minor_version > 0 && equals_ignore_case(*expect, "100-continue");
  const Framing framing = framing_of(head->headers);
  if (framing.bad) return ParseResult::kBad;
  if (framing.other_coding) return ParseResult::kNotImplemented;
  if (framing.chunked && head->minor_version == 0) return ParseResult::kBad;
  // RFC 9110 §9.3.6: it has no content, and what follows is the tunnel.
  if (head->method == "CONNECT" && (framing.chunked || framing.length > 0)) return ParseResult::kBad;
  if (!split_target(head) || !take_host(head)) return ParseResult::kBad;
  if (framing.chunked) head->body = BodyKind::kChunked;
  if (framing.length_seen) {
    head->content_length = framing.length;
    if (framing.length > 0) head->body = BodyKind::kLength;
  }
  return ParseResult::kComplete;
}

ParseResult parse_response(std::string_view text, bool request_was_head, ResponseHead* head) {
  HeadParser parser;
  parser.headers = &head->headers;
  if (!run(parser, HTTP_RESPONSE, text)) return ParseResult::kBad;
  if (head->headers.size() > kMaxHeaders) return ParseResult::kTooLarge;
  head->status = parser.llhttp.status_code;
  if (head->status < 100 || head->status > 999) return ParseResult::kBad;
  head->reason = parser.reason;
  head->minor_version = parser.llhttp.http_minor;
  head->keep_alive = keeps_alive(head->headers, head->minor_version);
  head->content_length = 0;
  const Framing framing = framing_of(head->headers);
  if (framing.bad || framing.other_coding) return ParseResult::kBad;
  if (framing.chunked && head->minor_version == 0) return ParseResult::kBad;
  const bool bodiless = request_was_head || head->status < 200 || head->status == 204 || head->status == 304;
  if (framing.length_seen) head->content_length = framing.length;
  if (bodiless || (framing.length_seen && framing.length == 0)) {
    head->body = BodyKind::kNone;
  } else if (framing.chunked) {
    head->body = BodyKind::kChunked;
  } else {
    head->body = framing.length_seen ? BodyKind::kLength : BodyKind::kUntilClose;
  }
  return ParseResult::kComplete;
}

}  // namespace weft::proxy
