// What one match of an authorization policy asks of a request, compiled from weft.mesh.v1.HttpTerms.
// Immutable, any thread; a question allocates nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip_range.h"
#include "userspace-proxy/http/message.h"

namespace istio::security {
class Match;
}

namespace weft::proxy {

// A request as policies see it. Views end with the head.
struct JudgedRequest {
  const RequestHead& head;
  // The path as the strictest level of normalisation spells it (http/path.h); as head.path where it is the
  // same. Servers may read a path either way, so what denies asks both.
  std::string_view plain_path;
  // The client's address: the last of X-Forwarded-For, or the peer's.
  IpAddress remote;
};

// Of a head whose target is normalised. `storage` holds the plain path where it is another one, keeps its
// memory, and outlives what is returned.
JudgedRequest judged(const RequestHead& head, const IpAddress& peer, std::string* storage);

class HttpTerms {
 public:
  // Null: the match asks nothing of requests. InvalidArgument: an extension that this version cannot read, or
  // terms that are none.
  static absl::StatusOr<std::unique_ptr<HttpTerms>> compile(const istio::security::Match& match);

  // Where a request can be read in several ways (a path in two spellings, a header in several lines) `any` of
  // them satisfies a rule that denies, and all of them must satisfy one that allows. A rule that allows reads
  // the path as it is forwarded.
  bool hold(const JudgedRequest& request, bool any) const;

  // A text of a policy.
  struct Text {
    enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kPresent, kTemplate };
    Kind kind = Kind::kExact;
    std::string text;
  };
  // Any of `in`, if there are any, and none of `out`.
  struct Choice {
    std::vector<Text> in, out;
    bool empty() const { return in.empty() && out.empty(); }
  };
  struct HeaderChoice {
    std::string name;
    Choice values;
  };

 private:
  bool host_holds(std::string_view authority) const;
  bool header_holds(const HeaderChoice& header, const RequestHead& head, bool any) const;

  Choice methods_, hosts_, paths_;
  std::vector<HeaderChoice> headers_;
  std::vector<IpRange> remote_in_, remote_out_;
};

// "{*}" is one segment that is not empty, "{**}" any text; what stands after it is literal.
bool matches_template(std::string_view pattern, std::string_view path);

}  // namespace weft::proxy
