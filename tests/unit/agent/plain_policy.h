// AuthorizationPolicy once more, as a plain reading of its specification: values are compared one by one as
// an author writes them, and nothing is compiled. Shares no code with what it checks.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::agent::plain {

// A field and its not-form. Empty: not given.
struct Values {
  std::vector<std::string> in, out;
  bool empty() const { return in.empty() && out.empty(); }
};

struct Source {
  Values principals, trust_domains, namespaces, accounts, ips, remotes, token_principals;
};

struct Operation {
  Values hosts, ports, methods, paths;
};

struct Condition {
  std::string key;
  Values values;
};

struct Rule {
  std::vector<Source> from;
  std::vector<Operation> to;
  std::vector<Condition> when;
};

// In the namespace shop.
struct Policy {
  std::string name;
  bool deny = false;
  bool audit = false;    // AUDIT in place of the above
  bool dry_run = false;  // decides nothing
  // CUSTOM in place of those: whom to ask; empty: it is none.
  std::string provider;
  std::vector<Rule> rules;
};

struct Request {
  bool http = true;  // false: bytes that are no HTTP
  // All three, or none.
  std::string trust_domain, ns, account;
  std::string source, remote, destination;  // IPv4
  int port = 0;
  std::string method, host;
  std::string path;                   // as forwarded
  std::vector<std::string> readings;  // what servers may make of it, where that is something else
  std::vector<std::pair<std::string, std::string>> headers;
  // Of its good token; none: it has none.
  std::string token_principal;
  std::vector<std::pair<std::string, std::vector<std::string>>> claims;  // "aud", "a/b": b in a
  // Claims that are one text, and the names of those that the issuer's rule calls lists of words.
  std::vector<std::pair<std::string, std::string>> text_claims;
  std::vector<std::string> word_claims;
  std::string server_name;    // of its TLS; empty: none
  bool name_unknown = false;  // nobody looked for it; of what is no HTTP
};

// `as_if_enforced`: dry-run policies decide, too.
bool allowed(const std::vector<Policy>& policies, const Request& request, bool as_if_enforced = false);
// Whom a request has to be allowed by besides: each provider once, in the order of the policies.
std::vector<std::string> asked(const std::vector<Policy>& policies, const Request& request);
// Some policy of AUDIT matches.
bool audited(const std::vector<Policy>& policies, const Request& request);

// The spec of a manifest, in flow style.
std::string spec_of(const Policy& policy);

}  // namespace weft::agent::plain
