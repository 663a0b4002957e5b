// See http_terms.h.
#include "userspace-proxy/policy/http_terms.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
using Text = HttpTerms::Text;
using Choice = HttpTerms::Choice;
template <typename T>
using List = google::protobuf::RepeatedPtrField<T>;

constexpr std::string_view kSegment = "{*}";
constexpr std::string_view kRest = "{**}";

absl::Status add(const List<pb::StringMatch>& texts, std::string_view what, std::vector<Text>* out) {
  for (const pb::StringMatch& text : texts) {
    switch (text.match_type_case()) {
      case pb::StringMatch::kExact:
        out->push_back({Text::Kind::kExact, text.exact(), {}});
        break;
      case pb::StringMatch::kPrefix:
        out->push_back({Text::Kind::kPrefix, text.prefix(), {}});
        break;
      case pb::StringMatch::kSuffix:
        out->push_back({Text::Kind::kSuffix, text.suffix(), {}});
        break;
      case pb::StringMatch::kPresence:
        out->push_back({Text::Kind::kPresent, {}, {}});
        break;
      case pb::StringMatch::MATCH_TYPE_NOT_SET:
        return absl::InvalidArgumentError(
            str_cat(what, ": a text without exact, prefix, suffix or presence"));
    }
  }
  return absl::OkStatus();
}

void add_templates(const List<std::string>& templates, std::vector<Text>* out) {
  for (const std::string& text : templates) out->push_back({Text::Kind::kTemplate, text, {}});
}

void make_plain(Choice* paths) {
  for (auto* texts : {&paths->in, &paths->out}) {
    for (Text& each : *texts) each.plain = plain_path_text(each.text);
  }
}

absl::Status add(const List<pb::Address>& ranges, std::string_view what, std::vector<IpRange>* out) {
  for (const pb::Address& range : ranges) {
    const auto parsed = IpRange::from_packed(range.address(), range.length());
    if (!parsed) return absl::InvalidArgumentError(str_cat(what, ": no address range"));
    out->push_back(*parsed);
  }
  return absl::OkStatus();
}

template <typename Equal>
bool hits(Text::Kind kind, std::string_view part, std::string_view text, Equal equal) {
  if (text.empty()) return false;
  switch (kind) {
    case Text::Kind::kExact:
      return equal(text, part);
    case Text::Kind::kPrefix:
      return text.size() >= part.size() && equal(text.substr(0, part.size()), part);
    case Text::Kind::kSuffix:
      return text.size() >= part.size() && equal(text.substr(text.size() - part.size()), part);
    case Text::Kind::kPresent:
      return true;
    case Text::Kind::kTemplate:
      return matches_template(part, text);
  }
  return false;
}

template <typename Hit>
bool holds_by(const Choice& choice, Hit hit) {
  return (choice.in.empty() || std::any_of(choice.in.begin(), choice.in.end(), hit)) &&
         std::none_of(choice.out.begin(), choice.out.end(), hit);
}

bool holds(const Choice& choice, std::string_view text) {
  return holds_by(choice, [text](const Text& wanted) {
    return hits(wanted.kind, wanted.text, text, std::equal_to<std::string_view>());
  });
}

// A path that is fully decoded. Authors write an escape or what it stands for: either is meant.
bool reading_holds(const Choice& choice, std::string_view path) {
  return holds_by(choice, [path](const Text& wanted) {
    constexpr std::equal_to<std::string_view> kSame{};
    return hits(wanted.kind, wanted.text, path, kSame) || hits(wanted.kind, wanted.plain, path, kSame);
  });
}

// A claim is all of its texts at once: any of them is the wanted one, or none is.
bool claim_holds(const HttpTerms::ClaimChoice& choice, const VerifiedToken* token) {
  static const std::vector<std::string> kNone;
  const auto found = token == nullptr ? decltype(token->claims.end()){} : token->claims.find(choice.claim);
  const bool present = token != nullptr && found != token->claims.end();
  const std::vector<std::string>& texts = present ? found->second : kNone;
  return holds_by(choice.values, [&texts](const Text& wanted) {
    return std::any_of(texts.begin(), texts.end(), [&wanted](const std::string& text) {
      return hits(wanted.kind, wanted.text, text, std::equal_to<std::string_view>());
    });
  });
}

// A host name, which says the same in letters of either case.
bool hits_host(const Text& wanted, std::string_view host) {
  return hits(wanted.kind, wanted.text, host, equals_ignore_case);
}

// The application gets neither these nor what Connection names. TE and Upgrade go on where they mean
// something.
bool is_kept(const RequestHead& head, std::string_view name) {
  if (equals_ignore_case(name, "te") || equals_ignore_case(name, "upgrade")) return true;
  return !is_connection_field(name) && !listed_in_connection(head.headers, name);
}

// "[::1]:80" and "a.b:80" without the port, and without the dot that may end a name.
std::string_view host_of(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos)
    authority = authority.substr(0, colon);
  if (authority.ends_with('.')) authority.remove_suffix(1);
  return authority;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The client's address by the head's fields, `peer` when they name none.
IpAddress remote_of(const RequestHead& head, const IpAddress& peer) {
  std::string_view last;
  for (const Header& header : head.headers) {
    if (equals_ignore_case(header.name, "x-forwarded-for") && is_kept(head, header.name)) last = header.value;
  }
  if (const size_t comma = last.rfind(','); comma != std::string_view::npos) last = last.substr(comma + 1);
  return IpAddress::parse(trimmed(last)).value_or(peer);
}

}  // namespace

void PathReadings::read(std::string_view path) {
  count_ = 0;
  for (const bool merges_first : {false, true}) {
    for (const SlashReading slashes :
         {SlashReading::kEscapedToo, SlashReading::kBackslashToo, SlashReading::kSlash}) {
      if (!read_path(path, {.slashes = slashes, .merges_first = merges_first}, &readings_[count_])) return;
      ++count_;
      // Most paths have one reading only.
      if (count_ == 1 && readings_[0] == path) return;
    }
  }
}

JudgedRequest judged(const RequestHead& head, const IpAddress& peer, PathReadings* paths,
                     const VerifiedToken* token) {
  paths->read(head.path);
  return {.head = head, .paths = *paths, .remote = remote_of(head, peer), .token = token};
}

bool matches_template(std::string_view pattern, std::string_view path) {
  while (true) {
    const size_t open = pattern.find('{');
    if (open == std::string_view::npos) return pattern == path;
    if (!path.starts_with(pattern.substr(0, open))) return false;
    path.remove_prefix(open);
    pattern.remove_prefix(open);
    if (pattern.starts_with(kRest)) return path.ends_with(pattern.substr(kRest.size()));
    if (!pattern.starts_with(kSegment)) return false;
    const size_t length = std::min(path.find('/'), path.size());
    if (length == 0) return false;
    path.remove_prefix(length);
    pattern.remove_prefix(kSegment.size());
  }
}

absl::Status HttpTerms::add_terms(const weft::mesh::v1::HttpTerms& terms) {
  if (terms.ByteSizeLong() == 0) return absl::InvalidArgumentError("an extension without terms");
  ask_requests_ = true;
  RETURN_IF_ERROR(add(terms.methods(), "methods", &methods_.in));
  RETURN_IF_ERROR(add(terms.not_methods(), "not_methods", &methods_.out));
  RETURN_IF_ERROR(add(terms.hosts(), "hosts", &hosts_.in));
  RETURN_IF_ERROR(add(terms.not_hosts(), "not_hosts", &hosts_.out));
  RETURN_IF_ERROR(add(terms.paths(), "paths", &paths_.in));
  RETURN_IF_ERROR(add(terms.not_paths(), "not_paths", &paths_.out));
  add_templates(terms.path_templates(), &paths_.in);
  add_templates(terms.not_path_templates(), &paths_.out);
  make_plain(&paths_);
  for (const auto& header : terms.headers()) {
    HeaderChoice& choice = headers_.emplace_back(HeaderChoice{.name = header.name(), .values = {}});
    RETURN_IF_ERROR(add(header.values(), header.name(), &choice.values.in));
    RETURN_IF_ERROR(add(header.not_values(), header.name(), &choice.values.out));
  }
  RETURN_IF_ERROR(add(terms.remote_ips(), "remote_ips", &remote_in_));
  return add(terms.not_remote_ips(), "not_remote_ips", &remote_out_);
}

absl::Status HttpTerms::add_terms(const weft::mesh::v1::TokenTerms& terms) {
  if (terms.ByteSizeLong() == 0) return absl::InvalidArgumentError("an extension without terms");
  ask_requests_ = true;
  RETURN_IF_ERROR(add(terms.request_principals(), "request_principals", &principals_.in));
  RETURN_IF_ERROR(add(terms.not_request_principals(), "not_request_principals", &principals_.out));
  for (const auto& claim : terms.claims()) {
    if (claim.claim().empty()) return absl::InvalidArgumentError("a term about a claim that is not named");
    ClaimChoice& choice = claims_.emplace_back();
    choice.claim = claim_key({claim.claim().begin(), claim.claim().end()});
    RETURN_IF_ERROR(add(claim.values(), "claims", &choice.values.in));
    RETURN_IF_ERROR(add(claim.not_values(), "claims", &choice.values.out));
  }
  return absl::OkStatus();
}

absl::Status HttpTerms::add_terms(const weft::mesh::v1::ConnectionTerms& terms) {
  if (terms.ByteSizeLong() == 0) return absl::InvalidArgumentError("an extension without terms");
  RETURN_IF_ERROR(add(terms.server_names(), "server_names", &server_names_.in));
  return add(terms.not_server_names(), "not_server_names", &server_names_.out);
}

absl::StatusOr<std::unique_ptr<HttpTerms>> HttpTerms::compile(const pb::Match& match) {
  std::unique_ptr<HttpTerms> out;
  bool about_request = false, about_token = false, about_connection = false;
  for (const auto& extension : match.extensions()) {
    if (out == nullptr) out = std::make_unique<HttpTerms>();
    weft::mesh::v1::HttpTerms terms;
    weft::mesh::v1::TokenTerms token;
    weft::mesh::v1::ConnectionTerms connection;
    if (extension.config().UnpackTo(&terms) && !std::exchange(about_request, true)) {
      RETURN_IF_ERROR(out->add_terms(terms));
    } else if (extension.config().UnpackTo(&token) && !std::exchange(about_token, true)) {
      RETURN_IF_ERROR(out->add_terms(token));
    } else if (extension.config().UnpackTo(&connection) && !std::exchange(about_connection, true)) {
      RETURN_IF_ERROR(out->add_terms(connection));
    } else {
      return absl::InvalidArgumentError(
          str_cat("extension ", extension.name(), " is not known here; use a proxy that knows it"));
    }
  }
  return out;
}

bool HttpTerms::hold(const JudgedRequest& request, bool any) const {
  const auto remote_hits = [&request](const IpRange& range) { return range.contains(request.remote); };
  if (!remote_in_.empty() && std::none_of(remote_in_.begin(), remote_in_.end(), remote_hits)) return false;
  if (std::any_of(remote_out_.begin(), remote_out_.end(), remote_hits)) return false;
  if (!server_name_holds(request.server_name)) return false;
  const RequestHead& head = request.head;
  if (!holds(methods_, head.method) || !host_holds(head.authority)) return false;
  if (!path_holds(request, any)) return false;
  const VerifiedToken* token = request.token;
  if (!holds(principals_, token == nullptr ? std::string_view() : std::string_view(token->principal)))
    return false;
  if (!std::all_of(claims_.begin(), claims_.end(),
                   [token](const ClaimChoice& claim) { return claim_holds(claim, token); }))
    return false;
  return std::all_of(headers_.begin(), headers_.end(),
                     [&](const HeaderChoice& header) { return header_holds(header, head, any); });
}

bool HttpTerms::hold_unread(std::optional<std::string_view> server_name, bool any) const {
  if (ask_server_name() && !(server_name ? server_name_holds(*server_name) : any)) return false;
  return !ask_requests_ || any;
}

bool HttpTerms::server_name_holds(std::string_view name) const {
  return holds_by(server_names_, [name](const Text& wanted) { return hits_host(wanted, name); });
}

bool HttpTerms::path_holds(const JudgedRequest& request, bool any) const {
  if (paths_.empty()) return true;
  if (request.paths.unreadable()) return any;
  if (holds(paths_, request.head.path) == any) return any;
  const auto held = [this](const std::string& path) { return reading_holds(paths_, path); };
  const auto all = request.paths.all();
  return any ? std::any_of(all.begin(), all.end(), held) : std::all_of(all.begin(), all.end(), held);
}

// Authors write a host with its port or without: either is meant.
bool HttpTerms::host_holds(std::string_view authority) const {
  const std::string_view host = host_of(authority);
  const auto hit = [authority, host](const Text& wanted) {
    return hits_host(wanted, authority) || hits_host(wanted, host);
  };
  return (hosts_.in.empty() || std::any_of(hosts_.in.begin(), hosts_.in.end(), hit)) &&
         std::none_of(hosts_.out.begin(), hosts_.out.end(), hit);
}

bool HttpTerms::header_holds(const HeaderChoice& header, const RequestHead& head, bool any) const {
  if (header.name == "host") return holds(header.values, head.authority);
  bool present = false, held = !any;
  for (const Header& line : head.headers) {
    if (!equals_ignore_case(line.name, header.name) || !is_kept(head, line.name)) continue;
    present = true;
    const bool holds_here = holds(header.values, line.value);
    held = any ? held || holds_here : held && holds_here;
  }
  return present ? held : header.values.in.empty();
}

}  // namespace weft::proxy
