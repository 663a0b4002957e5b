// The RequestAuthentications of a workload: finds the tokens of a request that comes in to it, has them
// proved, and tells the application what they say. Immutable, any thread; once a token is known it allocates
// nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/policy/token_cache.h"
#include "userspace-proxy/policy/token_rule.h"

namespace weft::proxy {

class RequestAuthentication {
 public:
  // A request with more is refused: each costs signatures.
  static constexpr size_t kMaxTokens = 4;

  explicit RequestAuthentication(std::vector<TokenRulePtr> rules) : rules_(std::move(rules)) {}

  // Of a head whose target is normalised, at a time in seconds since 1970. False: it has a token that no rule
  // which reads that place takes, or its Connection field names a header that rules give, which the next hop
  // would drop for it. Else `token` is what it says, by the first rule that took one, or null when
  // it has none. Then the head is what the application gets: headers that rules give it are the token's or
  // gone, and the token is gone where its rule says so (but not out of a cookie). A CORS preflight is let
  // through with what it has, and says nothing.
  bool authenticate(RequestHead* head, int64_t now, TokenCache* cache, VerifiedTokenPtr* token) const;

  // The application may take this name for a header that a rule gives: only the rule may write it.
  bool gives(std::string_view name) const;

 private:
  class Reading;
  bool connection_names_given(const RequestHead& head) const;
  void write(const VerifiedToken* token, const TokenRule* rule, RequestHead* head) const;

  std::vector<TokenRulePtr> rules_;
};

}  // namespace weft::proxy
