// See edit_headers.h.
#include "userspace-proxy/route/edit_headers.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace weft::proxy {
namespace {

// Room for the longest text that is made here: "[v6 address]:port".
using Scratch = std::array<char, 64>;

std::string_view number_text(uint32_t number, Scratch& scratch) {
  const char* end = std::to_chars(scratch.data(), scratch.data() + scratch.size(), number).ptr;
  return {scratch.data(), static_cast<size_t>(end - scratch.data())};
}

std::string_view request_field(const RequestHead& head, std::string_view name, bool* there) {
  *there = true;
  if (name == ":method") return head.method;
  if (name == ":path") return head.target;
  if (name == ":authority" || name == "host") return head.authority;
  if (name == ":scheme") return head.scheme;
  const auto value = head.find(name);
  *there = value.has_value();
  return value.value_or(std::string_view());
}

std::string_view request_field(const RequestHead& head, const ValuePart& part) {
  bool there = false;
  std::string_view value = request_field(head, part.text, &there);
  if (!there && !part.alternative.empty()) value = request_field(head, part.alternative, &there);
  return value;
}

std::string_view response_field(const ResponseHead* head, const ValuePart& part) {
  if (head == nullptr) return {};
  auto value = head->find(part.text);
  if (!value && !part.alternative.empty()) value = head->find(part.alternative);
  return value.value_or(std::string_view());
}

std::string_view protocol_text(const RequestHead& head) {
  if (head.major_version == 2) return "HTTP/2";
  return head.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

// With "-" for an address that there is not, as Envoy writes it.
std::string_view address_text(const SocketAddress& address, bool port, Scratch& scratch) {
  if (address == SocketAddress()) return "-";
  const bool v4 = address.ip.is_v4();
  char* at = scratch.data();
  if (port && !v4) *at++ = '[';
  const uint8_t* bytes = address.ip.bytes.data() + (v4 ? 12 : 0);
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes, at, INET6_ADDRSTRLEN);
  at += std::strlen(at);
  if (port) {
    if (!v4) *at++ = ']';
    *at++ = ':';
    at = std::to_chars(at, scratch.data() + scratch.size(), address.port).ptr;
  }
  return {scratch.data(), static_cast<size_t>(at - scratch.data())};
}

std::string_view text_of(const ValuePart& part, const EditFacts& facts, Scratch& scratch) {
  using Kind = ValuePart::Kind;
  switch (part.kind) {
    case Kind::kLiteral:
      return part.text;
    case Kind::kDownstreamRemoteAddress:
      return address_text(facts.downstream_remote, true, scratch);
    case Kind::kDownstreamRemoteHost:
      return address_text(facts.downstream_remote, false, scratch);
    case Kind::kDownstreamRemotePort:
      return number_text(facts.downstream_remote.port, scratch);
    case Kind::kDownstreamLocalAddress:
      return address_text(facts.downstream_local, true, scratch);
    case Kind::kDownstreamLocalHost:
      return address_text(facts.downstream_local, false, scratch);
    case Kind::kDownstreamLocalPort:
      return number_text(facts.downstream_local.port, scratch);
    case Kind::kProtocol:
      return protocol_text(facts.request);
    case Kind::kRouteName:
      return facts.route_name;
    case Kind::kUpstreamCluster:
      return facts.cluster;
    case Kind::kUpstreamRemoteAddress:
      return address_text(facts.upstream_remote, true, scratch);
    case Kind::kResponseCode:
      return facts.response == nullptr ? "-" : number_text(facts.response->status, scratch);
    case Kind::kResponseHeader:
      return response_field(facts.response, part);
    case Kind::kRequestHeader:
      return request_field(facts.request, part);
  }
  return {};
}

std::string_view taken(const ValuePart& part, const EditFacts& facts, Scratch& scratch) {
  const std::string_view text = text_of(part, facts, scratch);
  return part.max_length == 0 ? text : text.substr(0, part.max_length);
}

bool is_literal(const HeaderEdit& edit) {
  return edit.value.size() == 1 && edit.value.front().kind == ValuePart::Kind::kLiteral;
}

// Cut values may end in white space, which no field value may.
std::string_view trimmed(std::string_view value) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!value.empty() && is_space(value.back())) value.remove_suffix(1);
  while (!value.empty() && is_space(value.front())) value.remove_prefix(1);
  return value;
}

std::string_view render(const HeaderEdit& edit, const EditFacts& facts, std::string* text) {
  if (is_literal(edit)) return edit.value.front().text;
  const size_t begin = text->size();
  Scratch scratch;
  for (const ValuePart& part : edit.value) text->append(taken(part, facts, scratch));
  return trimmed(std::string_view(*text).substr(begin));
}

}  // namespace

size_t rendered_bytes(const HeaderEdits& edits, const EditFacts& facts) {
  size_t bytes = 0;
  Scratch scratch;
  for (const HeaderEdit& edit : edits.edits) {
    if (is_literal(edit)) continue;
    for (const ValuePart& part : edit.value) bytes += taken(part, facts, scratch).size();
  }
  return bytes;
}

void set_header(std::string_view name, std::string_view value, std::vector<Header>* headers) {
  const auto named = [&](const Header& header) { return equals_ignore_case(header.name, name); };
  const auto first = std::find_if(headers->begin(), headers->end(), named);
  if (first == headers->end()) return headers->push_back(Header{name, value});
  first->value = value;
  headers->erase(std::remove_if(first + 1, headers->end(), named), headers->end());
}

void edit_headers(const HeaderEdits& edits, const EditFacts& facts, std::string* text,
                  std::vector<Header>* headers) {
  for (const std::string& name : edits.remove) {
    std::erase_if(*headers, [&](const Header& header) { return equals_ignore_case(header.name, name); });
  }
  for (const HeaderEdit& edit : edits.edits) {
    const std::string_view value = render(edit, facts, text);
    if (value.empty()) continue;
    if (edit.append) {
      headers->push_back(Header{edit.name, value});
    } else {
      set_header(edit.name, value, headers);
    }
  }
}

}  // namespace weft::proxy
