// See check_message.h.
#include "userspace-proxy/policy/check_message.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "proto/xds/external_auth.pb.h"
#include "userspace-proxy/http/field_rules.h"

namespace weft::proxy {
namespace {

namespace auth = envoy::service::auth::v3;
using HttpRequest = auth::AttributeContext::HttpRequest;

constexpr size_t kPrefixBytes = 5;  // of a message of gRPC: not compressed, length
constexpr int64_t kNsPerSecond = 1'000'000'000;

CheckAnswer failed(std::string_view problem) { return {.problem = problem, .body = {}}; }

// Length of the UTF-8 sequence that begins there; 0: none does.
size_t sequence_at(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xed && byte(1) > 0x9f;
  return overlong || surrogate || (lead == 0xf4 && byte(1) > 0x8f) ? 0 : length;
}

// A text of protobuf is UTF-8; fields and bodies may be anything.
std::string utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = sequence_at(bytes);
    length == 0 ? out.append("!") : out.append(bytes.substr(0, length));
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

void add_field(std::string name, std::string_view value, HttpRequest* http) {
  auto& fields = *http->mutable_headers();
  const auto known = fields.find(name);
  if (known == fields.end())
    fields[std::move(name)] = utf8(value);
  else
    known->second.append(",").append(utf8(value));
}

// Those of the connection are not the application's either.
bool is_asked_with(const std::vector<Header>& all, std::string_view name) {
  return !is_connection_field(name) && !listed_in_connection(all, name);
}

void fill(const ExternalProvider& provider, const CheckQuestion& question, HttpRequest* http) {
  const RequestHead& head = question.head;
  http->set_method(utf8(head.method));
  http->set_path(utf8(head.target));
  http->set_host(utf8(head.authority));
  http->set_scheme(utf8(head.scheme));
  http->set_protocol(head.major_version == 2 ? "HTTP/2" : head.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1");
  http->set_size(head.body == BodyKind::kLength ? static_cast<int64_t>(head.content_length)
                 : head.body == BodyKind::kNone ? 0
                                                : -1);
  for (const auto& [name, value] :
       {std::pair{":method", head.method}, std::pair{":path", head.target},
        std::pair{":authority", head.authority}, std::pair{":scheme", head.scheme}})
    add_field(name, value, http);
  for (const Header& header : head.headers) {
    if (is_asked_with(head.headers, header.name))
      add_field(absl::AsciiStrToLower(to_absl(header.name)), header.value, http);
  }
  if (provider.raw_body)
    http->set_raw_body(std::string(question.body));
  else
    http->set_body(utf8(question.body));
}

void set_address(const SocketAddress& from, auth::AttributeContext::Peer* peer) {
  auth::SocketAddress& to = *peer->mutable_address()->mutable_socket_address();
  to.set_address(from.ip.to_string());
  to.set_port_value(from.port);
}

// What frames or routes the message, or is of one connection, is not the provider's to change.
bool may_edit(std::string_view name) {
  return is_token(name) && !is_connection_field(name) && !equals_ignore_case(name, "host") &&
         !equals_ignore_case(name, "content-length") && !equals_ignore_case(name, "trailer") &&
         !equals_ignore_case(name, "expect");
}

bool is_value(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

FieldEdit::Kind kind_of(const auth::HeaderValueOption& option, bool response) {
  using Kind = FieldEdit::Kind;
  if (option.has_append()) return option.append().value() ? Kind::kAppend : Kind::kSet;
  if (!response) return Kind::kSet;
  switch (option.append_action()) {
    case auth::HeaderValueOption::ADD_IF_ABSENT:
      return Kind::kAddIfAbsent;
    case auth::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD:
      return Kind::kSet;
    case auth::HeaderValueOption::OVERWRITE_IF_EXISTS:
      return Kind::kSetIfPresent;
    default:
      return Kind::kAppend;
  }
}

using Options = google::protobuf::RepeatedPtrField<auth::HeaderValueOption>;

// False: a name or value that no field has, or one too many.
bool read_edit(const auth::HeaderValueOption& option, bool response, std::vector<FieldEdit>* out) {
  const auth::HeaderValue& field = option.header();
  const std::string_view text = field.value().empty() ? field.raw_value() : field.value();
  const std::string value(absl::StripAsciiWhitespace(to_absl(text)));
  if (!is_value(value) || out->size() == kMaxCheckEdits) return false;
  // Envoy's answers to itself may name pseudo-headers.
  if (field.key().starts_with(":")) return true;
  if (!is_token(field.key())) return false;
  if (may_edit(field.key()))
    out->push_back({kind_of(option, response), absl::AsciiStrToLower(field.key()), value});
  return true;
}

bool read_edits(const Options& options, bool response, std::vector<FieldEdit>* out) {
  return std::all_of(options.begin(), options.end(), [response, out](const auth::HeaderValueOption& option) {
    return read_edit(option, response, out);
  });
}

bool read_removals(const auth::OkHttpResponse& ok, std::vector<FieldEdit>* out) {
  for (const std::string& name : ok.headers_to_remove()) {
    if (out->size() == kMaxCheckEdits) return false;
    if (may_edit(name)) out->push_back({FieldEdit::Kind::kRemove, absl::AsciiStrToLower(name), ""});
  }
  return true;
}

bool is_denial(int status) { return status >= 200 && status <= 599; }

// Always told to who is denied: they make the answer what it is.
bool is_part_of_denial(std::string_view name) {
  return equals_ignore_case(name, "www-authenticate") || equals_ignore_case(name, "location");
}

}  // namespace

std::string grpc_question(const ExternalProvider& provider, const CheckQuestion& question) {
  auth::CheckRequest message;
  auth::AttributeContext& attributes = *message.mutable_attributes();
  set_address(question.client, attributes.mutable_source());
  attributes.mutable_source()->set_principal(utf8(question.client_id));
  set_address(question.server, attributes.mutable_destination());
  attributes.mutable_destination()->set_service(utf8(question.server_uid));
  auto& request = *attributes.mutable_request();
  request.mutable_time()->set_seconds(question.unix_ns / kNsPerSecond);
  request.mutable_time()->set_nanos(static_cast<int32_t>(question.unix_ns % kNsPerSecond));
  fill(provider, question, request.mutable_http());
  std::string out(kPrefixBytes, '\0');
  message.AppendToString(&out);
  const size_t length = out.size() - kPrefixBytes;
  for (size_t i = 1; i < kPrefixBytes; ++i)
    out[i] = static_cast<char>((length >> (8 * (kPrefixBytes - 1 - i))) & 0xff);
  return out;
}

CheckAnswer read_grpc_answer(std::string_view bytes) {
  const auto failed = [](std::string_view problem) {
    return CheckAnswer{.problem = problem, .unread = true, .body = {}};
  };
  if (bytes.size() < kPrefixBytes) return failed("the answer has no message");
  if (bytes.front() != 0) return failed("the answer is compressed");
  size_t length = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (length != bytes.size() - kPrefixBytes) return failed("the answer is not one message");
  auth::CheckResponse message;
  if (!message.ParseFromArray(bytes.data() + kPrefixBytes, static_cast<int>(length)))
    return failed("the answer is no CheckResponse");
  CheckAnswer out{.problem = {}, .body = {}};
  if (message.status().code() == 0) {
    const auth::OkHttpResponse& ok = message.ok_response();
    if (!read_edits(ok.headers(), false, &out.request) || !read_removals(ok, &out.request) ||
        !read_edits(ok.response_headers_to_add(), true, &out.response) ||
        out.request.size() + out.response.size() > kMaxCheckEdits)
      return failed("the answer edits fields that cannot be");
    out.kind = CheckAnswer::Kind::kAllowed;
    return out;
  }
  // Whatever else it says, this is a no: what cannot be told to the client is left out.
  const auth::DeniedHttpResponse& denied = message.denied_response();
  const int status = denied.status().code();
  for (const auth::HeaderValueOption& option : denied.headers()) read_edit(option, false, &out.response);
  if (is_denial(status)) out.status = static_cast<uint16_t>(status);
  out.body = denied.body();
  out.kind = CheckAnswer::Kind::kDenied;
  return out;
}

void http_question(const ExternalProvider& provider, const CheckQuestion& question, RequestHead* out,
                   std::string* text) {
  const RequestHead& head = question.head;
  text->assign(provider.path_prefix).append(head.target);
  const size_t length = text->size();
  text->append(std::to_string(question.body.size()));
  out->headers.clear();
  // An extended CONNECT is a GET to everybody else.
  out->method = head.protocol.empty() ? head.method : "GET";
  out->target = std::string_view(*text).substr(0, length);
  out->authority = head.authority;
  out->path = out->query = out->protocol = {};
  out->scheme = "http";
  out->major_version = out->minor_version = 1;
  out->keep_alive = true;
  out->expect_continue = false;
  out->body = question.body.empty() ? BodyKind::kNone : BodyKind::kLength;
  out->content_length = question.body.size();
  if (!head.authority.empty()) out->headers.push_back({"host", head.authority});
  const auto added = [&provider](std::string_view name) {
    return std::any_of(provider.added_fields.begin(), provider.added_fields.end(),
                       [name](const auto& field) { return equals_ignore_case(field.first, name); });
  };
  for (const Header& header : head.headers) {
    const bool wanted =
        equals_ignore_case(header.name, "authorization") || provider.request_fields.has(header.name);
    if (wanted && may_edit(header.name) && is_asked_with(head.headers, header.name) && !added(header.name))
      out->headers.push_back(header);
  }
  for (const auto& [name, value] : provider.added_fields) {
    if (may_edit(name)) out->headers.push_back({name, value});
  }
  out->headers.push_back({"content-length", std::string_view(*text).substr(length)});
}

CheckAnswer::Kind http_verdict(uint16_t status) {
  if (status >= 500) return CheckAnswer::Kind::kFailed;
  return status == 200 ? CheckAnswer::Kind::kAllowed : CheckAnswer::Kind::kDenied;
}

CheckAnswer read_http_answer(const ExternalProvider& provider, const ResponseHead& head, std::string body) {
  const CheckAnswer::Kind verdict = http_verdict(head.status);
  if (verdict == CheckAnswer::Kind::kFailed) return failed("the provider answered with an error of its own");
  CheckAnswer out{.problem = {}, .body = {}};
  const bool allowed = verdict == CheckAnswer::Kind::kAllowed;
  const auto take = [](const Header& header, std::vector<FieldEdit>* to, FieldEdit::Kind kind) {
    to->push_back({kind, absl::AsciiStrToLower(to_absl(header.name)), std::string(header.value)});
  };
  for (const Header& header : head.headers) {
    if (!may_edit(header.name)) continue;
    if (out.request.size() + out.response.size() >= kMaxCheckEdits) {
      if (!allowed) break;  // it is a no without the others
      return failed("the answer has too many fields");
    }
    if (allowed) {
      // Of several lines the first takes the place of the request's, and the others stand beside it.
      if (provider.fields_to_upstream.has(header.name))
        take(header, &out.request,
             sets(out.request, header.name) ? FieldEdit::Kind::kAppend : FieldEdit::Kind::kSet);
      if (provider.fields_on_allow.has(header.name)) take(header, &out.response, FieldEdit::Kind::kAppend);
      continue;
    }
    const bool told = provider.fields_on_deny.empty() || provider.fields_on_deny.has(header.name) ||
                      is_part_of_denial(header.name);
    if (told)
      take(header, &out.response,
           sets(out.response, header.name) ? FieldEdit::Kind::kAppend : FieldEdit::Kind::kSet);
  }
  out.kind = verdict;
  out.status = head.status;
  if (!allowed) out.body = std::move(body);
  return out;
}

bool sets(const std::vector<FieldEdit>& edits, std::string_view name) {
  return std::any_of(edits.begin(), edits.end(),
                     [name](const FieldEdit& edit) { return equals_ignore_case(edit.name, name); });
}

namespace {

void apply(const std::vector<FieldEdit>& edits, bool (*same_name)(std::string_view, std::string_view),
           std::vector<Header>* headers) {
  using Kind = FieldEdit::Kind;
  for (const FieldEdit& edit : edits) {
    const auto same = [&](const Header& header) { return same_name(header.name, edit.name); };
    const bool present = std::any_of(headers->begin(), headers->end(), same);
    if (edit.kind == Kind::kSetIfPresent && !present) continue;
    if (edit.kind == Kind::kAddIfAbsent && present) continue;
    if (edit.kind != Kind::kAppend) std::erase_if(*headers, same);
    if (edit.kind != Kind::kRemove) headers->push_back({edit.name, edit.value});
  }
}

}  // namespace

void apply_to_request(const std::vector<FieldEdit>& edits, std::vector<Header>* headers) {
  apply(edits, reads_as, headers);
}

void apply_to_response(const std::vector<FieldEdit>& edits, std::vector<Header>* headers) {
  apply(edits, [](std::string_view a, std::string_view b) { return equals_ignore_case(a, b); }, headers);
}

}  // namespace weft::proxy
