// make_request and make_response: pseudo-fields first, then fields, each looked at once.
#include "userspace-proxy/http/http2_head.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/strings.h"
#include "userspace-proxy/http/authority.h"
#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kMaxContentLength = uint64_t{1} << 62;

// Pseudo-fields of a request (RFC 9113 §8.3.1). A null view: not there.
struct RequestPseudo {
  std::string_view method, scheme, authority, path, protocol;

  std::string_view* named(std::string_view name) {
    if (name == ":method") return &method;
    if (name == ":path") return &path;
    if (name == ":scheme") return &scheme;
    if (name == ":authority") return &authority;
    if (name == ":protocol") return &protocol;
    return nullptr;
  }
};

// Content-Length of a head: at most one, digits only (RFC 9110 §8.6).
struct Length {
  std::optional<uint64_t> value;
  bool bad = false;

  void take(std::string_view text) {
    const auto parsed = parse_integer<uint64_t>(text);
    bad = bad || value.has_value() || !parsed || *parsed > kMaxContentLength;
    value = parsed.value_or(0);
  }
};

// One field of a head after the pseudo-fields. False for what no HTTP/2 message may carry.
bool is_regular(const FieldBlock::Field& field) {
  if (!is_http2_name(field.name) || !is_http2_value(field.value)) return false;
  return !is_connection_field(field.name) || (field.name == "te" && field.value == "trailers");
}

// Takes the pseudo-fields, each once, all before the first other field. Returns how many there are, or
// nullopt.
template <typename Named>
std::optional<size_t> take_pseudo(const FieldBlock& block, Named named) {
  size_t count = 0;
  while (count < block.size() && block[count].name.starts_with(':')) {
    const FieldBlock::Field field = block[count++];
    std::string_view* slot = named(field.name);
    if (slot == nullptr || slot->data() != nullptr) return std::nullopt;
    *slot = field.value;
  }
  return count;
}

// Crumbs become one field, for hops and servers that know no crumbs (RFC 9113 §8.2.3).
void add_cookie(FieldBlock& block, size_t first_field, std::vector<Header>* headers) {
  size_t crumbs = 0;
  for (size_t i = first_field; i < block.size(); ++i) crumbs += block[i].name == "cookie" ? 1 : 0;
  if (crumbs == 0) return;
  if (crumbs == 1) return headers->push_back(Header{"cookie", block.find("cookie")});
  // reserve_extra() was called for this: `joined` and all other views stay where they are.
  std::string_view joined;
  for (size_t i = first_field; i < block.size(); ++i) {
    if (block[i].name != "cookie") continue;
    if (!joined.empty()) block.append("; ");
    const std::string_view piece = block.append(block[i].value);
    joined = joined.empty() ? piece : std::string_view(joined.data(), joined.size() + 2 + piece.size());
  }
  headers->push_back(Header{"cookie", joined});
}

size_t cookie_bytes(const FieldBlock& block) {
  size_t bytes = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    if (block[i].name == "cookie") bytes += block[i].value.size() + 2;
  }
  return bytes;
}

// Host is the same fact as :authority (RFC 9113 §8.3.1); two that differ are an attack on somebody.
bool take_authority(std::string_view pseudo, std::string_view host, RequestHead* head) {
  if (pseudo.data() == nullptr && host.data() == nullptr) return false;
  if (pseudo.data() != nullptr && host.data() != nullptr && !equals_ignore_case(pseudo, host)) return false;
  head->authority = pseudo.data() != nullptr ? pseudo : host;
  return valid_authority(head->authority);
}

bool take_path(std::string_view path, RequestHead* head) {
  head->target = path;
  if (path != "*") return split_origin_form(path, head);
  head->path = path;
  return head->method == "OPTIONS";
}

bool take_request_fields(FieldBlock& block, size_t first, RequestHead* head, Length* length) {
  std::string_view host;
  for (size_t i = first; i < block.size(); ++i) {
    const FieldBlock::Field field = block[i];
    if (!is_regular(field)) return false;
    if (field.name == "host") {
      if (host.data() != nullptr) return false;
      host = field.value;
      continue;
    }
    if (field.name == "cookie") continue;
    if (field.name == "content-length") length->take(field.value);
    if (field.name == "expect") head->expect_continue = equals_ignore_case(field.value, "100-continue");
    head->headers.push_back(Header{field.name, field.value});
  }
  add_cookie(block, first, &head->headers);
  return take_authority(head->authority, host, head);
}

// A tunnel: to an authority (RFC 9113 §8.5), or to a resource with the protocol that is to be spoken with it
// (RFC 8441), which is what an upgraded GET is in HTTP/1.
bool take_connect(const RequestPseudo& pseudo, RequestHead* head) {
  head->protocol = pseudo.protocol;
  if (pseudo.protocol.data() != nullptr) {
    head->method = "GET";
    return is_token(pseudo.protocol) && pseudo.path.starts_with('/') && take_path(pseudo.path, head);
  }
  head->target = pseudo.authority;
  return pseudo.path.data() == nullptr && pseudo.scheme.data() == nullptr &&
         pseudo.authority.find(':') != std::string_view::npos;
}

bool take_scheme(const RequestPseudo& pseudo, RequestHead* head) {
  if (pseudo.scheme != "http" && pseudo.scheme != "https") return false;
  head->scheme = pseudo.scheme;
  return true;
}

}  // namespace

bool is_http2_name(std::string_view name) {
  return is_token(name) &&
         std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_http2_value(std::string_view value) {
  if (value.empty()) return true;
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  if (is_space(value.front()) || is_space(value.back())) return false;
  // Vectors where they pay, for values that compression made of a byte.
  constexpr size_t kLong = 128;
  if (value.size() > kLong) {
    const auto has = [&](char c) { return std::memchr(value.data(), c, value.size()) != nullptr; };
    return !has('\0') && !has('\r') && !has('\n');
  }
  return std::none_of(value.begin(), value.end(), [](char c) { return c == '\0' || c == '\r' || c == '\n'; });
}

ParseResult make_request(FieldBlock& block, bool end_stream, RequestHead* head) {
  *head = RequestHead{.headers = std::move(head->headers), .rewritten = std::move(head->rewritten)};
  head->headers.clear();
  head->major_version = 2;
  head->minor_version = 0;
  if (block.too_large()) return ParseResult::kTooLarge;
  block.reserve_extra(cookie_bytes(block));
  RequestPseudo pseudo;
  const auto first = take_pseudo(block, [&](std::string_view name) { return pseudo.named(name); });
  if (!first) return ParseResult::kBad;
  head->method = pseudo.method;
  if (!is_token(head->method)) return ParseResult::kBad;
  const bool tunnel = head->method == "CONNECT";
  const bool to_authority = tunnel && pseudo.protocol.data() == nullptr;
  if (!to_authority && !take_scheme(pseudo, head)) return ParseResult::kBad;
  if (!tunnel && pseudo.protocol.data() != nullptr) return ParseResult::kBad;
  if (tunnel ? !take_connect(pseudo, head) : !take_path(pseudo.path, head)) return ParseResult::kBad;
  head->authority = pseudo.authority;
  Length length;
  if (!take_request_fields(block, *first, head, &length) || length.bad) return ParseResult::kBad;
  if (tunnel) return length.value ? ParseResult::kBad : ParseResult::kComplete;
  if (end_stream) {
    if (length.value.value_or(0) > 0) return ParseResult::kBad;
    head->body = BodyKind::kNone;
  } else {
    head->body = length.value ? BodyKind::kLength : BodyKind::kChunked;
  }
  head->content_length = length.value.value_or(0);
  return ParseResult::kComplete;
}

ParseResult make_response(FieldBlock& block, bool end_stream, bool request_was_head, ResponseHead* head) {
  *head = ResponseHead{.headers = std::move(head->headers)};
  head->headers.clear();
  if (block.too_large()) return ParseResult::kTooLarge;
  std::string_view status;
  const auto first =
      take_pseudo(block, [&](std::string_view name) { return name == ":status" ? &status : nullptr; });
  const auto code = parse_integer<uint16_t>(status);
  // 101 does not exist here (RFC 9113 §8.6).
  if (!first || status.size() != 3 || !code || *code < 100 || *code == 101) return ParseResult::kBad;
  head->status = *code;
  Length length;
  for (size_t i = *first; i < block.size(); ++i) {
    const FieldBlock::Field field = block[i];
    if (!is_regular(field)) return ParseResult::kBad;
    if (field.name == "content-length") length.take(field.value);
    head->headers.push_back(Header{field.name, field.value});
  }
  if (length.bad) return ParseResult::kBad;
  head->content_length = length.value.value_or(0);
  const bool bodiless = request_was_head || *code < 200 || *code == 204 || *code == 304;
  if (end_stream && !bodiless && head->content_length > 0) return ParseResult::kBad;
  if (end_stream || bodiless) {
    head->body = BodyKind::kNone;
  } else {
    head->body = length.value ? BodyKind::kLength : BodyKind::kChunked;
  }
  return ParseResult::kComplete;
}

bool make_trailers(const FieldBlock& block, PooledVector<Header>* trailers) {
  trailers->clear();
  for (size_t i = 0; i < block.size(); ++i) {
    const FieldBlock::Field field = block[i];
    if (!is_regular(field)) return false;
    if (!forbidden_in_trailer(field.name)) trailers->push_back(Header{field.name, field.value});
  }
  return !block.too_large();
}

}  // namespace weft::proxy
