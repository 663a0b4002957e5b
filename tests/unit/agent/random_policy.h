// Authorization policies of any shape that addresses, ports and identities can have, for whoever compares two
// readings of them. Terms about requests are there too, and say nothing that can be read.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "base/ip_range.h"
#include "proto/istio/security.pb.h"

namespace weft::agent {

struct RandomPolicyWords {
  std::vector<const char*> sources = {"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32",
                                      "0.0.0.0/0",  "fd00::/16",   "::/0"};
  std::vector<uint16_t> ports = {80, 443, 5432};
  std::vector<const char*> destinations = {"10.9.9.9/32", "10.8.0.0/16"};
};

class RandomPolicies {
 public:
  explicit RandomPolicies(unsigned seed, RandomPolicyWords words = {})
      : random_(seed), words_(std::move(words)) {}

  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  istio::security::Authorization make(int number) {
    istio::security::Authorization policy;
    policy.set_name("p" + std::to_string(number));
    policy.set_namespace_("shop");
    policy.set_action(below(2) == 0 ? istio::security::ALLOW : istio::security::DENY);
    for (unsigned rules = below(3); rules > 0; --rules) {
      istio::security::Rule* const rule = policy.add_rules();
      for (unsigned clauses = below(3); clauses > 0; --clauses) {
        istio::security::Clause* const clause = rule->add_clauses();
        for (unsigned matches = 1 + below(3); matches > 0; --matches) *clause->add_matches() = match();
      }
    }
    return policy;
  }

 private:
  const char* one_of(const std::vector<const char*>& texts) {
    return texts[below(static_cast<unsigned>(texts.size()))];
  }
  static istio::security::Address range(const char* text) {
    const IpRange parsed = *IpRange::parse(text);
    istio::security::Address out;
    out.set_address(parsed.ip.packed());
    out.set_length(parsed.length);
    return out;
  }
  istio::security::Match match() {
    istio::security::Match out;
    for (unsigned terms = 1 + below(3); terms > 0; --terms) add_term(out);
    if (below(8) == 0) out.add_extensions()->set_name("terms about requests");
    return out;
  }
  void add_term(istio::security::Match& out) {
    const char* const sources = one_of(words_.sources);
    const uint16_t port = words_.ports[below(static_cast<unsigned>(words_.ports.size()))];
    switch (below(8)) {
      case 0:
        *out.add_source_ips() = range(sources);
        break;
      case 1:
        *out.add_not_source_ips() = range(sources);
        break;
      case 2:
        out.add_destination_ports(port);
        break;
      case 3:
        out.add_not_destination_ports(port);
        break;
      case 4:
        out.add_namespaces()->set_exact(one_of({"shop", "bank"}));
        break;
      case 5:
        out.add_not_namespaces()->set_exact(one_of({"shop", "bank"}));
        break;
      case 6:
        out.add_principals()->set_suffix(one_of({"/sa/web", "/sa/admin"}));
        break;
      case 7:
        *out.add_destination_ips() = range(one_of(words_.destinations));
        break;
    }
  }

  std::mt19937 random_;
  const RandomPolicyWords words_;
};

}  // namespace weft::agent
