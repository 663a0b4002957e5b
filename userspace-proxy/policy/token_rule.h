// One rule of a RequestAuthentication: whose tokens it takes, and what it makes of one. Immutable, any
// thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/jws.h"
#include "userspace-proxy/policy/verified_token.h"

namespace weft::mesh::v1 {
class TokenRule;
}

namespace weft::proxy {

// A token that was read and is not proved: nothing but the choice of a rule may follow from it.
class UnprovedToken {
 public:
  // `token` outlives it. InvalidArgument, without a byte of it: no signed token, or its payload is no object
  // with a text "iss".
  static absl::StatusOr<UnprovedToken> read(std::string_view token);
  UnprovedToken(UnprovedToken&&) noexcept;
  ~UnprovedToken();

  const std::string& issuer() const;

 private:
  friend class TokenRule;
  struct Parts;
  explicit UnprovedToken(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

class TokenRule {
 public:
  // The difference between our clock and the issuer's that is forgiven.
  static constexpr int64_t kSkewSeconds = 60;
  // A token whose claims take more memory is refused: each is known by its whole path, so that names of outer
  // objects count as often as there are claims within.
  static constexpr size_t kMaxClaimBytes = 64 * 1024;

  struct Place {
    std::string header;  // lower case
    std::string prefix;  // "Bearer ": in letters of either case, and with more spaces
    bool bearer = false;
  };
  struct ClaimHeader {
    std::string header;  // lower case
    std::vector<std::string> claim;
  };

  // InvalidArgument: no issuer, keys that are none, a name of a header that is none.
  static absl::StatusOr<std::shared_ptr<const TokenRule>> compile(const mesh::v1::TokenRule& rule);

  const std::string& issuer() const { return issuer_; }
  const std::vector<Place>& headers() const { return headers_; }
  const std::vector<std::string>& params() const { return params_; }
  const std::vector<std::string>& cookies() const { return cookies_; }
  const std::string& payload_header() const { return payload_header_; }
  const std::vector<ClaimHeader>& claim_headers() const { return claim_headers_; }
  bool forwards_token() const { return forwards_token_; }

  // Null: it is of another issuer, or not good (signature, audience, times of now). Views of this are in what
  // is returned.
  VerifiedTokenPtr verify(const UnprovedToken& token, int64_t now) const;
  // What verify() would make of a good token with these claims, a JSON object: for explanations, because
  // nobody has proved them. Null: it is of another issuer or audience, or says too much. InvalidArgument: it
  // is no such object.
  absl::StatusOr<VerifiedTokenPtr> as_if_proved(std::string_view claims) const;

 private:
  std::string issuer_;
  std::vector<std::string> audiences_;
  JwkSet keys_;  // none: not known yet
  std::vector<Place> headers_;
  std::vector<std::string> params_, cookies_;
  std::string payload_header_;
  std::vector<ClaimHeader> claim_headers_;
  bool forwards_token_ = false;
  std::vector<std::string> word_claims_;  // besides those that are in every token
};

using TokenRulePtr = std::shared_ptr<const TokenRule>;

}  // namespace weft::proxy
