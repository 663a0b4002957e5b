// framing_of of framing.h.
#include "userspace-proxy/http/framing.h"

#include <algorithm>

#include "base/strings.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kMaxLength = uint64_t{1} << 62;

enum class Field : uint8_t { kOther, kContentLength, kTransferEncoding, kLookalike };

Field field_of(std::string_view name) {
  if (name.size() == 14) {
    if (equals_ignore_case(name, "content-length")) return Field::kContentLength;
    if (equals_ignore_case(name, "content_length")) return Field::kLookalike;
  }
  if (name.size() == 17) {
    if (equals_ignore_case(name, "transfer-encoding")) return Field::kTransferEncoding;
    if (equals_ignore_case(name, "transfer_encoding")) return Field::kLookalike;
  }
  return Field::kOther;
}

// Takes the first member off a list: without the white space around it, never empty in a good list.
std::string_view take_member(std::string_view* list) {
  const size_t comma = list->find(',');
  std::string_view member = list->substr(0, comma);
  list->remove_prefix(comma == std::string_view::npos ? list->size() : comma + 1);
  while (!member.empty() && (member.front() == ' ' || member.front() == '\t')) member.remove_prefix(1);
  while (!member.empty() && (member.back() == ' ' || member.back() == '\t')) member.remove_suffix(1);
  return member;
}

// Only a final "chunked" tells where the message ends (RFC 9112 §6.3, rule 4), and it is applied once (§6.1).
Framing::Kind coding_of(std::string_view value) {
  if (equals_ignore_case(value, "chunked")) return Framing::Kind::kChunked;
  if (value.ends_with(',')) return Framing::Kind::kBad;
  bool chunked = false;
  while (!value.empty()) {
    const std::string_view coding = take_member(&value);
    if (chunked || coding.empty()) return Framing::Kind::kBad;
    chunked = equals_ignore_case(coding, "chunked");
  }
  return chunked ? Framing::Kind::kOtherCoding : Framing::Kind::kBad;
}

}  // namespace

Framing framing_of(const std::vector<Header>& headers) {
  Framing framing;
  for (const Header& header : headers) {
    const Field field = field_of(header.name);
    if (field == Field::kOther) continue;
    if (field == Field::kLookalike || framing.kind != Framing::Kind::kNone)
      return Framing{.kind = Framing::Kind::kBad};
    if (field == Field::kTransferEncoding) {
      framing.kind = coding_of(header.value);
    } else if (const auto length = parse_integer<uint64_t>(header.value); length && *length <= kMaxLength) {
      framing = Framing{.kind = Framing::Kind::kLength, .length = *length};
    } else {
      framing.kind = Framing::Kind::kBad;
    }
    if (framing.kind == Framing::Kind::kBad) return framing;
  }
  return framing;
}

}  // namespace weft::proxy
