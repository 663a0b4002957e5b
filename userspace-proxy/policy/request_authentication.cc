// See request_authentication.h.
#include "userspace-proxy/policy/request_authentication.h"

#include <algorithm>
#include <array>
#include <optional>

#include "userspace-proxy/http/field_rules.h"

namespace weft::proxy {
namespace {

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// Empty: there is none.
std::string_view token_in(const TokenRule::Place& place, std::string_view value) {
  if (!place.bearer) {
    if (!value.starts_with(place.prefix)) return {};
    return trimmed(value.substr(place.prefix.size()));
  }
  constexpr std::string_view kScheme = "bearer";
  const bool named = value.size() > kScheme.size() && value[kScheme.size()] == ' ' &&
                     equals_ignore_case(value.substr(0, kScheme.size()), kScheme);
  return named ? trimmed(value.substr(kScheme.size())) : std::string_view();
}

// Calls visit(name, value) for each "name=value" between separators, until it returns false.
template <typename Visit>
bool each_pair(std::string_view text, char separator, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    const std::string_view pair = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    if (!visit(pair.substr(0, equals), pair.substr(equals + 1))) return false;
  }
  return true;
}

bool names(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Calls visit(token) for each in a place that the rule reads, until it returns false.
template <typename Visit>
bool each_token(const TokenRule& rule, const RequestHead& head, Visit visit) {
  for (const Header& header : head.headers) {
    for (const TokenRule::Place& place : rule.headers()) {
      if (!equals_ignore_case(header.name, place.header)) continue;
      const std::string_view token = token_in(place, header.value);
      if (!token.empty() && !visit(token)) return false;
    }
    if (rule.cookies().empty() || !equals_ignore_case(header.name, "cookie")) continue;
    const bool more = each_pair(header.value, ';', [&](std::string_view name, std::string_view value) {
      return value.empty() || !names(rule.cookies(), name) || visit(value);
    });
    if (!more) return false;
  }
  if (rule.params().empty()) return true;
  return each_pair(head.query, '&', [&](std::string_view name, std::string_view value) {
    return value.empty() || !names(rule.params(), name) || visit(value);
  });
}

// Of Fetch, "CORS-preflight request": browsers send no credentials with it.
bool is_preflight(const RequestHead& head) {
  return head.method == "OPTIONS" && head.find("origin") && head.find("access-control-request-method");
}

// The first pair of the query with one of these names, and the separator that goes with it. False: there is
// none.
bool drop_param(const std::vector<std::string>& params, RequestHead* head) {
  std::string_view found;
  each_pair(head->query, '&', [&](std::string_view name, std::string_view value) {
    if (names(params, name)) found = {name.data(), name.size() + 1 + value.size()};
    return found.empty();
  });
  if (found.empty()) return false;
  const auto begin = static_cast<size_t>(found.data() - head->target.data());
  const size_t path_size = head->path.size();
  if (head->target.data() != head->rewritten.data()) head->rewritten.assign(head->target);
  std::string& target = head->rewritten;
  const bool last = begin + found.size() >= target.size();
  // "?a=1&b=2": with the "&" behind it, or, as the last, with what is before it.
  target.erase(last ? begin - 1 : begin, found.size() + 1);
  head->target = target;
  head->path = head->target.substr(0, path_size);
  head->query = head->target.substr(std::min(path_size + 1, head->target.size()));
  return true;
}

void drop_tokens(const TokenRule& rule, RequestHead* head) {
  std::erase_if(head->headers, [&rule](const Header& header) {
    return std::any_of(
        rule.headers().begin(), rule.headers().end(), [&header](const TokenRule::Place& place) {
          return equals_ignore_case(header.name, place.header) && !token_in(place, header.value).empty();
        });
  });
  if (rule.params().empty()) return;
  while (drop_param(rule.params(), head)) {
  }
}

bool is_output(const TokenRule& rule, std::string_view name) {
  return (!rule.payload_header().empty() && reads_as(name, rule.payload_header())) ||
         std::any_of(rule.claim_headers().begin(), rule.claim_headers().end(),
                     [name](const auto& header) { return reads_as(name, header.header); });
}

}  // namespace

// The different tokens of one request.
class RequestAuthentication::Reading {
 public:
  Reading(int64_t now, TokenCache* cache) : now_(now), cache_(cache) {}

  // False: there are too many.
  bool look_up(std::string_view text, const TokenRulePtr& rule) {
    Seen* seen = find(text);
    if (seen == nullptr && count_ == kMaxTokens) return false;
    if (seen == nullptr) {
      seen = &seen_[count_++];
      seen->text = text;
    }
    if (seen->token != nullptr) return true;
    VerifiedTokenPtr known = cache_->find(text, *rule);
    if (known == nullptr) return true;
    if (!known->good_at(now_)) {
      cache_->forget(*known, *rule);
      return true;
    }
    seen->token = std::move(known);
    seen->rule = rule.get();
    return true;
  }

  // False: it is no token at all.
  bool prove(std::string_view text, const TokenRulePtr& rule) {
    Seen& seen = *find(text);
    if (seen.token != nullptr) return true;
    if (!seen.unproved) {
      auto read = UnprovedToken::read(text);
      if (!read.ok()) return false;
      seen.unproved.emplace(*std::move(read));
    }
    seen.token = rule->verify(*seen.unproved, now_);
    if (seen.token == nullptr) return true;
    seen.rule = rule.get();
    cache_->add(seen.token, rule);
    return true;
  }

  bool all_good() const {
    return std::all_of(seen_.begin(), seen_.begin() + count_,
                       [](const Seen& seen) { return seen.token != nullptr; });
  }
  size_t count() const { return count_; }
  const TokenRule* rule(size_t i) const { return seen_[i].rule; }
  const VerifiedTokenPtr& token(size_t i) const { return seen_[i].token; }

 private:
  struct Seen {
    std::string_view text;
    std::optional<UnprovedToken> unproved;
    VerifiedTokenPtr token;  // null: not proved
    const TokenRule* rule = nullptr;
  };
  Seen* find(std::string_view text) {
    const auto end = seen_.begin() + count_;
    const auto found =
        std::find_if(seen_.begin(), end, [text](const Seen& seen) { return seen.text == text; });
    return found == end ? nullptr : &*found;
  }

  const int64_t now_;
  TokenCache* const cache_;
  std::array<Seen, kMaxTokens> seen_;
  size_t count_ = 0;
};

bool RequestAuthentication::authenticate(RequestHead* head, int64_t now, TokenCache* cache,
                                         VerifiedTokenPtr* token) const {
  token->reset();
  if (connection_names_given(*head)) return false;
  if (is_preflight(*head)) {
    write(nullptr, nullptr, head);
    return true;
  }
  Reading reading(now, cache);
  for (const TokenRulePtr& rule : rules_) {
    if (!each_token(*rule, *head, [&](std::string_view text) { return reading.look_up(text, rule); }))
      return false;
  }
  for (const TokenRulePtr& rule : rules_) {
    if (reading.all_good()) break;
    if (!each_token(*rule, *head, [&](std::string_view text) { return reading.prove(text, rule); }))
      return false;
  }
  if (!reading.all_good()) return false;
  const TokenRule* first = nullptr;
  for (const TokenRulePtr& rule : rules_) {
    for (size_t i = 0; i < reading.count() && first == nullptr; ++i) {
      if (reading.rule(i) != rule.get()) continue;
      first = rule.get();
      *token = reading.token(i);
    }
  }
  for (size_t i = 0; i < reading.count(); ++i) {
    if (!reading.rule(i)->forwards_token()) drop_tokens(*reading.rule(i), head);
  }
  write(token->get(), first, head);
  return true;
}

bool RequestAuthentication::gives(std::string_view name) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [name](const TokenRulePtr& rule) { return is_output(*rule, name); });
}

bool RequestAuthentication::connection_names_given(const RequestHead& head) const {
  return std::any_of(head.headers.begin(), head.headers.end(), [this](const Header& header) {
    if (!equals_ignore_case(header.name, "connection")) return false;
    std::string_view list = header.value;
    while (!list.empty()) {
      const size_t comma = std::min(list.find(','), list.size());
      if (gives(trimmed(list.substr(0, comma)))) return true;
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return false;
  });
}

// What a client sends under the name of a header that rules give is never what the application reads there.
void RequestAuthentication::write(const VerifiedToken* token, const TokenRule* rule,
                                  RequestHead* head) const {
  std::erase_if(head->headers, [this](const Header& header) { return gives(header.name); });
  if (token == nullptr) return;
  if (!rule->payload_header().empty())
    head->headers.push_back({rule->payload_header(), token->encoded_payload});
  for (const auto& [name, value] : token->headers) head->headers.push_back({name, value});
}

}  // namespace weft::proxy
