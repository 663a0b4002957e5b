// Tokens that were proved, so that a client's next request costs a look-up and no signature. Bounded in
// number and bytes; what was used least lately goes first. Only good tokens are kept: nobody fills it without
// keys of an issuer. Of one worker.
#pragma once

#include <cstddef>
#include <list>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/strings.h"
#include "userspace-proxy/policy/token_rule.h"

namespace weft::proxy {

class TokenCache {
 public:
  static constexpr size_t kMaxTokens = 4'096;
  static constexpr size_t kMaxBytes = 8 << 20;

  // Null: not known. The same text by another rule is another token.
  VerifiedTokenPtr find(std::string_view text, const TokenRule& rule) {
    const auto found = by_text_.find(Key{to_absl(text), &rule});
    if (found == by_text_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->token;
  }

  void add(VerifiedTokenPtr token, TokenRulePtr rule) {
    const size_t bytes = size_of(*token);
    if (bytes > kMaxBytes) return;
    erase(Key{to_absl(token->text), rule.get()});
    while (!entries_.empty() && (entries_.size() >= kMaxTokens || bytes_ + bytes > kMaxBytes))
      erase(key_of(entries_.back()));
    entries_.push_front(Entry{std::move(token), std::move(rule)});
    by_text_.emplace(key_of(entries_.front()), entries_.begin());
    bytes_ += bytes;
  }

  void forget(const VerifiedToken& token, const TokenRule& rule) { erase(Key{to_absl(token.text), &rule}); }

  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  // The rule stays as long as the entry, so that no other has its address meanwhile.
  struct Entry {
    VerifiedTokenPtr token;
    TokenRulePtr rule;
  };
  using Entries = std::list<Entry>;
  using Key = std::pair<absl::string_view, const TokenRule*>;

  static Key key_of(const Entry& entry) { return {to_absl(entry.token->text), entry.rule.get()}; }
  static size_t size_of(const VerifiedToken& token) {
    size_t out = 512 + token.text.size() + token.principal.size() + token.claim_bytes;
    for (const auto& [name, value] : token.headers) out += 64 + value.size();
    return out;
  }
  void erase(const Key& key) {
    const auto found = by_text_.find(key);
    if (found == by_text_.end()) return;
    const auto entry = found->second;
    bytes_ -= size_of(*entry->token);
    by_text_.erase(found);
    entries_.erase(entry);
  }

  Entries entries_;  // what was used last first
  absl::flat_hash_map<Key, Entries::iterator> by_text_;
  size_t bytes_ = 0;
};

}  // namespace weft::proxy
