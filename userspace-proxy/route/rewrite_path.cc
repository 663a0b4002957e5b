// See rewrite_path.h. Semantics of Istio's HTTPRewrite and HTTPRedirect: a prefix is raw text, so "/foo" to
// "/bar" makes "/barbell" of "/foobell".
#include "userspace-proxy/route/rewrite_path.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

// As RE2::GlobalReplace, without its copies: every occurrence, none of them empty twice at one place.
void append_substituted(const re2::RE2& regex, const std::string& substitution, std::string_view path,
                        std::string* out) {
  constexpr int kGroups = 10;
  std::array<re2::StringPiece, kGroups> groups;
  const int wanted = std::min(kGroups, 1 + re2::RE2::MaxSubmatch(substitution));
  const re2::StringPiece whole(path.data(), path.size());
  size_t at = 0, last_end = std::string_view::npos;
  while (at <= path.size()) {
    if (!regex.Match(whole, at, path.size(), re2::RE2::UNANCHORED, groups.data(), wanted)) break;
    const auto begin = static_cast<size_t>(groups[0].data() - path.data());
    out->append(path.substr(at, begin - at));
    if (groups[0].empty() && begin == last_end) {
      if (begin < path.size()) out->push_back(path[begin]);
      at = begin + 1;
      continue;
    }
    regex.Rewrite(out, substitution, groups.data(), wanted);
    at = last_end = begin + groups[0].size();
  }
  if (at < path.size()) out->append(path.substr(at));
}

void append_query(const RequestHead& head, std::string* out) {
  if (head.target.find('?') != std::string_view::npos) out->append("?").append(head.query);
}

bool has_path(const RequestHead& head) { return head.path.starts_with('/'); }

std::string_view default_port(std::string_view scheme) { return scheme == "https" ? "443" : "80"; }

// Where the host of an authority ends and its port, if any, begins.
size_t host_end(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  const bool port = colon != std::string_view::npos && (bracket == std::string_view::npos || bracket < colon);
  return port ? colon : authority.size();
}

void append_number(uint16_t number, std::string* out) {
  std::array<char, 5> digits;
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out->append(digits.data(), static_cast<size_t>(end - digits.data()));
}

// The client's authority, unless another is asked for; its port goes when another is, or when it was only the
// old scheme's own.
void append_authority(const Redirect& redirect, const RequestHead& head, std::string_view scheme,
                      uint16_t port, std::string* out) {
  if (!redirect.authority.empty()) {
    out->append(redirect.authority);
  } else {
    const size_t end = host_end(head.authority);
    const std::string_view old_port = head.authority.substr(std::min(end + 1, head.authority.size()));
    const bool drop = port != 0 || (scheme != head.scheme && old_port == default_port(head.scheme));
    out->append(drop ? head.authority.substr(0, end) : head.authority);
  }
  const uint16_t usual = scheme == "https" ? 443 : 80;
  if (port == 0 || port == usual) return;
  out->push_back(':');
  append_number(port, out);
}

// Whole segments are replaced by whole segments, and a path that nothing is left of is "/".
void append_segments(std::string_view text, std::string_view rest, std::string* out) {
  const size_t begin = out->size();
  if (text.ends_with('/')) text.remove_suffix(1);
  out->append(text).append(rest);
  if (out->size() == begin) out->push_back('/');
}

void append_matched(const std::string& text, const HttpMatcher* match, std::string_view path,
                    std::string* out) {
  const std::string_view rest = path.substr(matched_bytes(match, path));
  if (match != nullptr && match->uri.kind == StringMatcher::Kind::kSegments)
    return append_segments(text, rest, out);
  out->append(text).append(rest);
}

}  // namespace

size_t matched_bytes(const HttpMatcher* match, std::string_view path) {
  const StringMatcher::Kind kind = match == nullptr ? StringMatcher::Kind::kAny : match->uri.kind;
  switch (kind) {
    case StringMatcher::Kind::kPrefix:
    case StringMatcher::Kind::kSegments:
      return std::min(match->uri.text.size(), path.size());
    case StringMatcher::Kind::kExact:
    case StringMatcher::Kind::kRegex:
      return path.size();
    case StringMatcher::Kind::kAny:
    case StringMatcher::Kind::kPresent:
      return std::min<size_t>(1, path.size());
  }
  return 0;
}

bool append_rewritten(const PathRewrite& rewrite, const HttpMatcher* match, const RequestHead& head,
                      std::string* out) {
  if (rewrite.kind == PathRewrite::Kind::kNone || !has_path(head)) {
    out->append(head.target);
    return true;
  }
  const size_t begin = out->size();
  switch (rewrite.kind) {
    case PathRewrite::Kind::kNone:
      break;
    case PathRewrite::Kind::kWhole:
      out->append(rewrite.text);
      break;
    case PathRewrite::Kind::kMatched:
      append_matched(rewrite.text, match, head.path, out);
      break;
    case PathRewrite::Kind::kRegex:
      append_substituted(*rewrite.regex, rewrite.text, head.path, out);
      break;
  }
  const std::string_view path = std::string_view(*out).substr(begin);
  const bool good = path.starts_with('/') && is_target_text(path) && path.find('?') == std::string_view::npos;
  append_query(head, out);
  return good;
}

bool append_location(const Redirect& redirect, const HttpMatcher* match, const RequestHead& head,
                     uint16_t dialled_port, std::string* out) {
  const std::string_view scheme = redirect.scheme.empty() ? head.scheme : std::string_view(redirect.scheme);
  out->append(scheme).append("://");
  append_authority(redirect, head, scheme, redirect.port_from_request ? dialled_port : redirect.port, out);
  if (redirect.path.empty()) return append_rewritten(redirect.rewrite, match, head, out);
  out->append(redirect.path);
  if (redirect.path.find('?') == std::string::npos) append_query(head, out);
  return true;
}

}  // namespace weft::proxy
