// A rule is an AND of clauses and a clause an OR of matches, so a rule is an OR of conjunctions of one match
// of each clause; each conjunction gets a bit. A conjunction splits into independent questions (address,
// port, workload), which is why three look-ups and an AND decide it. See kernel_policy.h.
#include "agent/policy/kernel_policy.h"

#include <algorithm>
#include <set>

#include "base/ip_range.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;

struct Conjunction {
  bool deny = false;
  std::vector<const pb::Match*> matches;  // all must hold; none: everything matches
};

struct Prefix {
  IpAddress ip;
  uint32_t length = 0;  // of the 128-bit form
  auto operator<=>(const Prefix&) const = default;
};

Prefix prefix_of(const pb::Address& range) {
  const IpRange parsed = IpRange::from_packed(range.address(), range.length()).value_or(IpRange{});
  Prefix out{parsed.ip, parsed.length + (parsed.ip.is_v4() ? 96 : 0)};
  for (uint32_t bit = out.length; bit < 128; ++bit)
    out.ip.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
  return out;
}

// In the 128-bit form a short IPv6 prefix contains all IPv4 addresses; as a range it holds none of them.
bool covers(const Prefix& outer, const Prefix& inner) {
  const bool other_family =
      (outer.length >= 96 && outer.ip.is_v4()) != (inner.length >= 96 && inner.ip.is_v4());
  if (other_family || outer.length > inner.length) return false;
  for (uint32_t bit = 0; bit < outer.length; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(0x80u >> (bit % 8));
    if ((outer.ip.bytes[bit / 8] & mask) != (inner.ip.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

// Of the addresses whose longest known prefix is `place`; nullptr: of those that no prefix covers.
bool source_holds(const pb::Match& match, const Prefix* place) {
  const auto hit = [place](const pb::Address& range) {
    return place != nullptr && covers(prefix_of(range), *place);
  };
  return (match.source_ips().empty() ||
          std::any_of(match.source_ips().begin(), match.source_ips().end(), hit)) &&
         std::none_of(match.not_source_ips().begin(), match.not_source_ips().end(), hit);
}

// Whether the kernel goes by the match's parts. Of requests that the proxy reads it knows the outcome only
// where no request could change it: who may be allowed passes, and only who is surely denied does not.
bool counts(const pb::Match& match, bool deny, RequestRules requests) {
  if (requests == RequestRules::kLeftOpen && has_request_terms(match)) return !deny;
  return can_hold(match, deny ? pb::DENY : pb::ALLOW);
}

// Every way to choose one match of each clause; nothing when a clause can never hold.
void expand(const pb::Rule& rule, bool deny, RequestRules requests, std::vector<Conjunction>* out) {
  std::vector<Conjunction> partial{{.deny = deny, .matches = {}}};
  for (const pb::Clause& clause : rule.clauses()) {
    if (clause.matches().empty()) continue;
    std::vector<Conjunction> next;
    for (const Conjunction& before : partial) {
      for (const pb::Match& match : clause.matches()) {
        if (!counts(match, deny, requests) || next.size() > WEFT_POLICY_RULES) continue;
        next.push_back(before);
        next.back().matches.push_back(&match);
      }
    }
    partial = std::move(next);
  }
  out->insert(out->end(), partial.begin(), partial.end());
}

// A policy that looks at the workload's own address holds for one of them, not for all: what denies is taken
// when it holds for any, what allows when it holds for every one.
bool concerns(const Conjunction& conjunction, std::span<const IpAddress> own) {
  const auto holds = [&conjunction](const IpAddress& ip) {
    return std::all_of(conjunction.matches.begin(), conjunction.matches.end(),
                       [&ip](const pb::Match* match) { return destination_holds(*match, ip); });
  };
  return conjunction.deny ? own.empty() || std::any_of(own.begin(), own.end(), holds)
                          : std::all_of(own.begin(), own.end(), holds);
}

// The rules whose matches all hold by `question`.
template <typename Question>
weft_rules rules_of(const std::vector<Conjunction>& rules, Question question) {
  weft_rules out{};
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto& matches = rules[i].matches;
    if (std::all_of(matches.begin(), matches.end(), [&](const pb::Match* m) { return question(*m); }))
      out.word[i / 64] |= uint64_t{1} << (i % 64);
  }
  return out;
}

void fill_tables(const std::vector<Conjunction>& rules, std::span<const LocalIdentity> local,
                 PolicyTable* table) {
  std::set<Prefix> prefixes;
  std::set<uint16_t> ports;
  for (const Conjunction& rule : rules) {
    for (const pb::Match* match : rule.matches) {
      for (const pb::Address& range : match->source_ips()) prefixes.insert(prefix_of(range));
      for (const pb::Address& range : match->not_source_ips()) prefixes.insert(prefix_of(range));
      for (const uint32_t port : match->destination_ports()) ports.insert(static_cast<uint16_t>(port));
      for (const uint32_t port : match->not_destination_ports()) ports.insert(static_cast<uint16_t>(port));
    }
  }
  // So that no IPv6 row is the longest one around an IPv4 address.
  if (!prefixes.empty()) prefixes.insert(Prefix{IpRange::parse("0.0.0.0/0")->ip, 96});
  table->fixed.other_ip = rules_of(rules, [](const pb::Match& m) { return source_holds(m, nullptr); });
  for (const Prefix& prefix : prefixes) {
    table->cidrs.push_back(
        {.ip = prefix.ip, .prefix_length = prefix.length, .rules = rules_of(rules, [&](const pb::Match& m) {
                                                            return source_holds(m, &prefix);
                                                          })});
  }
  // Port 0 stands for every port that no rule names: none names 0.
  table->fixed.other_port = rules_of(rules, [](const pb::Match& m) { return port_holds(m, 0); });
  for (const uint16_t port : ports)
    table->ports.emplace_back(port,
                              rules_of(rules, [port](const pb::Match& m) { return port_holds(m, port); }));
  table->fixed.other_workload =
      rules_of(rules, [](const pb::Match& m) { return identity_holds(m, std::nullopt); });
  for (const LocalIdentity& workload : local) {
    const weft_rules mask =
        rules_of(rules, [&](const pb::Match& m) { return identity_holds(m, workload.identity); });
    table->workloads.emplace_back(workload.workload_id, mask);
  }
}

}  // namespace

absl::StatusOr<PolicyTable> compile_policies(std::span<const pb::Authorization* const> policies,
                                             std::span<const IpAddress> own,
                                             std::span<const LocalIdentity> local, RequestRules requests) {
  PolicyTable table;
  std::vector<Conjunction> rules;
  for (const pb::Authorization* policy : policies) {
    if (policy->dry_run()) continue;
    // The proxy asks the provider.
    if (requests == RequestRules::kLeftOpen && is_custom(*policy)) continue;
    const bool deny = policy->action() == pb::DENY;
    if (!deny) table.fixed.flags |= WEFT_POLICY_HAS_ALLOW;
    for (const pb::Rule& rule : policy->rules()) expand(rule, deny, requests, &rules);
  }
  std::erase_if(rules, [&own](const Conjunction& rule) { return !concerns(rule, own); });
  if (rules.size() > WEFT_POLICY_RULES) {
    return absl::ResourceExhaustedError(
        str_cat("its policies make more than ", WEFT_POLICY_RULES,
                " alternatives: merge rules or list fewer alternatives in one"));
  }
  for (size_t i = 0; i < rules.size(); ++i)
    (rules[i].deny ? table.fixed.deny : table.fixed.allow).word[i / 64] |= uint64_t{1} << (i % 64);
  fill_tables(rules, local, &table);
  return table;
}

}  // namespace weft::agent
