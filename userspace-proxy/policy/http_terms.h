// What one match of an authorization policy asks of a request, and of the TLS that its connection begins
// with, compiled from weft.mesh.v1.HttpTerms, TokenTerms and ConnectionTerms.
// Immutable, any thread; a question allocates nothing.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip_range.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/policy/verified_token.h"

namespace istio::security {
class Match;
}

namespace weft::mesh::v1 {
class ConnectionTerms;
class HttpTerms;
class TokenTerms;
}  // namespace weft::mesh::v1

namespace weft::proxy {

// The ways in which servers may read the path of one request, beside its spelling. Keeps its memory from
// request to request.
class PathReadings {
 public:
  void read(std::string_view path);
  // No server's reading is sure: it has an escape that is none, or "%00".
  bool unreadable() const { return count_ == 0; }
  std::span<const std::string> all() const { return {readings_.data(), count_}; }

 private:
  std::array<std::string, 6> readings_;
  size_t count_ = 0;
};

// A request as policies see it. Views end with the head.
struct JudgedRequest {
  const RequestHead& head;
  const PathReadings& paths;
  // The client's address: the last of X-Forwarded-For, or the peer's.
  IpAddress remote;
  // Null: none that is good.
  const VerifiedToken* token = nullptr;
  // What the client's ClientHello asked for; empty: nothing, or the connection is no TLS that we see.
  std::string_view server_name = {};
};

// Of a head whose target is normalised. `paths` outlives what is returned, and serves one request at a time.
JudgedRequest judged(const RequestHead& head, const IpAddress& peer, PathReadings* paths,
                     const VerifiedToken* token = nullptr);

class HttpTerms {
 public:
  // Null: the match asks nothing of requests. InvalidArgument: an extension that this version cannot read, or
  // terms that are none.
  static absl::StatusOr<std::unique_ptr<HttpTerms>> compile(const istio::security::Match& match);

  // Where a request can be read in several ways (a path in two spellings, a header in several lines) `any` of
  // them satisfies a rule that denies, and all of them must satisfy one that allows. A path that cannot be
  // read satisfies every term about paths of a rule that denies, and none of one that allows. Header fields
  // that the application does not get, because they are of the connection, are not there.
  bool hold(const JudgedRequest& request, bool any) const;
  // Of a connection whose requests nobody reads: terms about requests never allow, and what they are part of
  // denies by the rest. So do terms about the server name where it is not known (nullopt).
  bool hold_unread(std::optional<std::string_view> server_name, bool any) const;
  bool ask_requests() const { return ask_requests_; }
  bool ask_server_name() const { return !server_names_.empty(); }

  // A text of a policy.
  struct Text {
    enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kPresent, kTemplate };
    Kind kind = Kind::kExact;
    std::string text;
    std::string plain;  // of a path: what its readings are compared with
  };
  // Any of `in`, if there are any, and none of `out`.
  struct Choice {
    std::vector<Text> in, out;
    bool empty() const { return in.empty() && out.empty(); }
  };
  struct ClaimChoice {
    std::string claim;  // claim_key()
    Choice values;
  };
  struct HeaderChoice {
    std::string name;
    Choice values;
  };

 private:
  absl::Status add_terms(const mesh::v1::HttpTerms& terms);
  absl::Status add_terms(const mesh::v1::TokenTerms& terms);
  absl::Status add_terms(const mesh::v1::ConnectionTerms& terms);
  bool server_name_holds(std::string_view name) const;
  bool path_holds(const JudgedRequest& request, bool any) const;
  bool host_holds(std::string_view authority) const;
  bool header_holds(const HeaderChoice& header, const RequestHead& head, bool any) const;

  bool ask_requests_ = false;
  Choice methods_, hosts_, paths_, principals_, server_names_;
  std::vector<ClaimChoice> claims_;
  std::vector<HeaderChoice> headers_;
  std::vector<IpRange> remote_in_, remote_out_;
};

// "{*}" is one segment that is not empty, "{**}" any text; what stands after it is literal.
bool matches_template(std::string_view pattern, std::string_view path);

}  // namespace weft::proxy
