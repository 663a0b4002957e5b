// Serialisers of http1_writer.h.
#include "userspace-proxy/http/http1_writer.h"

#include <charconv>
#include <optional>

#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/reason_phrase.h"

namespace weft::proxy {
namespace {

// ": " and the end of the line.
constexpr size_t kPerField = 4;

void add(std::string* out, std::string_view name, std::string_view value) {
  using Text = std::char_traits<char>;
  const size_t at = out->size();
  // Grown once per line: this runs for every field of every message.
  out->resize(at + name.size() + value.size() + kPerField);
  char* to = out->data() + at;
  Text::copy(to, name.data(), name.size());
  to += name.size();
  *to++ = ':';
  *to++ = ' ';
  Text::copy(to, value.data(), value.size());
  to += value.size();
  *to++ = '\r';
  *to = '\n';
}

void add_number(std::string* out, uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out->append(digits, static_cast<size_t>(end - digits));
}

// `length` is what the parser read of Content-Length: written anew, so that "007" cannot be read in two ways.
// nullopt: the message must not have one.
void add_end_to_end(const std::vector<Header>& headers, std::optional<uint64_t> length, std::string* out) {
  bool connection = false;
  size_t bytes = 0;
  for (const Header& header : headers) {
    connection = connection || equals_ignore_case(header.name, "connection");
    bytes += header.name.size() + header.value.size() + kPerField;
  }
  // A large head would be copied each time that it doubles. Some more, for what others add.
  out->reserve(out->size() + bytes + 128);
  for (const Header& header : headers) {
    if (is_connection_field(header.name)) continue;
    if (connection && listed_in_connection(headers, header.name)) continue;
    if (equals_ignore_case(header.name, "content-length")) {
      if (!length) continue;
      out->append(header.name).append(": ");
      add_number(out, *length);
      out->append("\r\n");
      continue;
    }
    add(out, header.name, header.value);
  }
}

}  // namespace

void write_request_head(const RequestHead& head, const RequestForm& form, std::string* out) {
  out->append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\n");
  if (!head.find("host")) add(out, "Host", head.authority.empty() ? form.fallback_host : head.authority);
  add_end_to_end(head.headers, head.content_length, out);
  const auto te = head.find("te");
  const bool trailers = te && has_token(*te, "trailers");
  if (trailers) add(out, "TE", "trailers");
  if (form.upgrade) {
    add(out, "Connection", "Upgrade");
    add(out, "Upgrade", head.protocol.empty() ? *head.find("upgrade") : head.protocol);
    if (!form.websocket_key.empty()) add(out, "Sec-WebSocket-Key", form.websocket_key);
  } else if (trailers) {
    add(out, "Connection", "TE");
  }
  if (head.body == BodyKind::kChunked) add(out, "Transfer-Encoding", "chunked");
  out->append("\r\n");
}

void write_response_head(const ResponseHead& head, const ResponseForm& form, std::string* out) {
  out->append("HTTP/1.1 ");
  add_number(out, head.status);
  out->append(" ").append(head.reason.empty() ? reason_phrase(head.status) : head.reason).append("\r\n");
  // RFC 9110 §8.6: none in 1xx and 204.
  const bool may_have_length = head.status >= 200 && head.status != 204;
  add_end_to_end(head.headers, may_have_length ? std::optional(head.content_length) : std::nullopt, out);
  if (form.chunked) add(out, "Transfer-Encoding", "chunked");
  if (form.upgrade) {
    add(out, "Connection", "Upgrade");
    if (const auto upgrade = head.find("upgrade")) add(out, "Upgrade", *upgrade);
  } else if (form.close) {
    add(out, "Connection", "close");
  } else if (form.client_minor_version == 0 && head.status >= 200) {
    add(out, "Connection", "keep-alive");
  }
  out->append("\r\n");
}

void write_local_reply(Outcome outcome, bool close, bool head_only, std::string* out) {
  const uint16_t status = status_of(outcome);
  const std::string_view name = label(outcome);
  out->append("HTTP/1.1 ");
  add_number(out, status);
  out->append(" ").append(reason_phrase(status)).append("\r\n");
  add(out, "x-weft-reason", name);
  if (!challenge(outcome).empty()) add(out, "www-authenticate", challenge(outcome));
  add(out, "content-type", "text/plain");
  out->append("content-length: ");
  const auto body = reply_body(outcome);
  add_number(out, body[0].size() + body[1].size() + body[2].size());
  out->append("\r\n");
  if (close) add(out, "connection", "close");
  out->append("\r\n");
  if (head_only) return;
  for (const std::string_view part : body) out->append(part);
}

}  // namespace weft::proxy
