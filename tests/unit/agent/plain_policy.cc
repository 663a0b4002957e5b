// See plain_policy.h.
#include "tests/unit/agent/plain_policy.h"

#include <cctype>
#include <cstdio>
#include <functional>
#include <sstream>

namespace weft::agent::plain {
namespace {

using Equal = std::function<bool(const std::string& written, const std::string& value)>;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// exact, "abc*", "*abc", "*": present and not empty.
bool wildcard(const std::string& written, const std::string& value) {
  if (value.empty()) return false;
  if (written == "*") return true;
  if (written.back() == '*') return value.rfind(written.substr(0, written.size() - 1), 0) == 0;
  if (written.front() != '*') return value == written;
  const std::string end = written.substr(1);
  return value.size() >= end.size() && value.substr(value.size() - end.size()) == end;
}

unsigned number_of(const std::string& ip) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  std::sscanf(ip.c_str(), "%u.%u.%u.%u", &a, &b, &c, &d);
  return a << 24 | b << 16 | c << 8 | d;
}

bool in_range(const std::string& written, const std::string& ip) {
  const size_t slash = written.find('/');
  const int bits = slash == std::string::npos ? 32 : std::stoi(written.substr(slash + 1));
  const unsigned long long size = 1ULL << (32 - bits);
  return number_of(written.substr(0, slash)) / size == number_of(ip) / size;
}

// Tries every way to spend the path on the pattern.
bool on_template(const char* pattern, const char* path) {
  const std::string rest = pattern;
  if (rest.rfind("{**}", 0) == 0) {
    for (;; ++path) {
      if (on_template(pattern + 4, path)) return true;
      if (*path == 0) return false;
    }
  }
  if (rest.rfind("{*}", 0) == 0) {
    while (*path != 0 && *path != '/') {
      if (on_template(pattern + 3, ++path)) return true;
    }
    return false;
  }
  if (*pattern == 0 || *path == 0) return *pattern == *path;
  return *pattern == *path && on_template(pattern + 1, path + 1);
}

bool path_hits(const std::string& written, const std::string& path) {
  return written.find('{') == std::string::npos ? wildcard(written, path)
                                                : on_template(written.c_str(), path.c_str());
}

bool host_hits(const std::string& written, const std::string& authority) {
  const std::string host = authority.substr(0, authority.find(':'));
  return wildcard(lower(written), lower(authority)) || wildcard(lower(written), lower(host));
}

bool field(const Values& values, const std::string& value, const Equal& hits) {
  bool in = values.in.empty();
  for (const std::string& written : values.in) in = in || hits(written, value);
  for (const std::string& written : values.out) in = in && !hits(written, value);
  return in;
}

struct Reading {
  const Request& request;
  bool deny;

  std::string principal() const {
    return request.ns.empty() ? "" : request.trust_domain + "/ns/" + request.ns + "/sa/" + request.account;
  }

  // About a request: what is no HTTP never allows by it, and is denied as if it held.
  bool of_request(bool given, const std::function<bool()>& holds) const {
    if (!given) return true;
    return request.http ? holds() : deny;
  }

  bool paths(const Values& values) const {
    std::vector<std::string> ways = request.readings;
    ways.push_back(request.path);
    size_t held = 0;
    for (const std::string& path : ways) held += field(values, path, path_hits) ? 1 : 0;
    return deny ? held > 0 : held == ways.size();
  }

  bool header(const std::string& name, const Values& values) const {
    std::vector<std::string> lines;
    for (const auto& [key, value] : request.headers) {
      if (lower(key) == lower(name)) lines.push_back(value);
    }
    if (lines.empty()) return values.in.empty();
    int held = 0;
    for (const std::string& line : lines) held += field(values, line, wildcard) ? 1 : 0;
    return deny ? held > 0 : held == static_cast<int>(lines.size());
  }

  // As the rule of the token's issuer says; scope and permission are lists of words whatever it says.
  std::vector<std::string> words_or_text(const std::string& name, const std::string& text) const {
    bool words = name == "scope" || name == "permission";
    for (const std::string& each : request.word_claims) words = words || each == name;
    if (!words) return {text};
    std::vector<std::string> out;
    std::istringstream rest(text);
    for (std::string word; std::getline(rest, word, ' ');) {
      if (!word.empty()) out.push_back(word);
    }
    return out;
  }

  // Any text of the claim is the wanted one, or none is.
  bool claim(const std::string& name, const Values& values) const {
    std::vector<std::string> texts;
    for (const auto& [key, all] : request.claims) {
      if (key == name) texts = all;
    }
    for (const auto& [key, text] : request.text_claims) {
      if (key == name) texts = words_or_text(key, text);
    }
    const Equal any = [&texts](const std::string& written, const std::string&) {
      bool hit = false;
      for (const std::string& text : texts) hit = hit || wildcard(written, text);
      return hit;
    };
    return field(values, "", any);
  }

  bool token(const Condition& c) const {
    if (c.key == "request.auth.principal") return field(c.values, request.token_principal, wildcard);
    if (c.key == "request.auth.audiences") return claim("aud", c.values);
    if (c.key == "request.auth.presenter") return claim("azp", c.values);
    if (c.key == "request.auth.claims[a][b]") return claim("a/b", c.values);
    constexpr size_t kBefore = 20;  // "request.auth.claims["
    return claim(c.key.substr(kBefore, c.key.size() - kBefore - 1), c.values);
  }

  bool server_name(const Values& values) const {
    if (request.name_unknown) return deny;
    return field(values, request.server_name, [](const std::string& written, const std::string& name) {
      return wildcard(lower(written), lower(name));
    });
  }

  bool account(const Values& values) const {
    const Equal hits = [this](const std::string& written, const std::string&) {
      return !request.ns.empty() &&
             (written == request.account ? request.ns == "shop"
                                         : written == request.ns + "/" + request.account);
    };
    return field(values, "", hits);
  }

  bool from(const Source& s) const {
    return field(s.principals, principal(), wildcard) &&
           field(s.trust_domains, request.trust_domain, wildcard) &&
           field(s.namespaces, request.ns, wildcard) && account(s.accounts) &&
           field(s.ips, request.source, in_range) &&
           of_request(!s.remotes.empty() || !s.token_principals.empty(), [&] {
             return field(s.remotes, request.remote, in_range) &&
                    field(s.token_principals, request.token_principal, wildcard);
           });
  }

  bool to(const Operation& o) const {
    const bool asks = !o.hosts.empty() || !o.methods.empty() || !o.paths.empty();
    return field(o.ports, std::to_string(request.port), std::equal_to<std::string>()) &&
           of_request(asks, [&] {
             return field(o.hosts, request.host, host_hits) && field(o.methods, request.method, wildcard) &&
                    paths(o.paths);
           });
  }

  bool when(const Condition& c) const {
    if (c.key == "source.ip") return field(c.values, request.source, in_range);
    if (c.key == "source.namespace") return field(c.values, request.ns, wildcard);
    if (c.key == "source.principal") return field(c.values, principal(), wildcard);
    if (c.key == "source.trustDomain") return field(c.values, request.trust_domain, wildcard);
    if (c.key == "source.serviceAccount") return account(c.values);
    if (c.key == "destination.ip") return field(c.values, request.destination, in_range);
    if (c.key == "destination.port")
      return field(c.values, std::to_string(request.port), std::equal_to<std::string>());
    if (c.key == "connection.sni") return server_name(c.values);
    if (c.key == "remote.ip")
      return of_request(true, [&] { return field(c.values, request.remote, in_range); });
    if (c.key.rfind("request.auth.", 0) == 0) return of_request(true, [&] { return token(c); });
    const std::string name = c.key.substr(std::string("request.headers[").size());
    return of_request(true, [&] { return header(name.substr(0, name.size() - 1), c.values); });
  }

  bool matches(const Rule& rule) const {
    bool source = rule.from.empty(), operation = rule.to.empty(), conditions = true;
    for (const Source& each : rule.from) source = source || from(each);
    for (const Operation& each : rule.to) operation = operation || to(each);
    for (const Condition& each : rule.when) conditions = conditions && when(each);
    return source && operation && conditions;
  }
};

std::string list(const std::string& name, const std::vector<std::string>& values) {
  if (values.empty()) return "";
  std::string out = name + ": [";
  for (const std::string& value : values) out += (out.back() == '[' ? "\"" : ", \"") + value + "\"";
  return out + "]";
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) {
    if (!part.empty()) out += (out.empty() ? "" : ", ") + part;
  }
  return out;
}

template <typename Item, typename Write>
std::string items(const std::string& name, const std::vector<Item>& all, Write write) {
  if (all.empty()) return "";
  std::vector<std::string> parts;
  for (const Item& item : all) parts.push_back("{" + write(item) + "}");
  return name + ": [" + joined(parts) + "]";
}

std::string write(const Source& s) {
  return "source: {" +
         joined({list("principals", s.principals.in), list("notPrincipals", s.principals.out),
                 list("trustDomains", s.trust_domains.in), list("notTrustDomains", s.trust_domains.out),
                 list("namespaces", s.namespaces.in), list("notNamespaces", s.namespaces.out),
                 list("serviceAccounts", s.accounts.in), list("notServiceAccounts", s.accounts.out),
                 list("ipBlocks", s.ips.in), list("notIpBlocks", s.ips.out),
                 list("remoteIpBlocks", s.remotes.in), list("notRemoteIpBlocks", s.remotes.out),
                 list("requestPrincipals", s.token_principals.in),
                 list("notRequestPrincipals", s.token_principals.out)}) +
         "}";
}

std::string write(const Operation& o) {
  return "operation: {" +
         joined({list("hosts", o.hosts.in), list("notHosts", o.hosts.out), list("ports", o.ports.in),
                 list("notPorts", o.ports.out), list("methods", o.methods.in),
                 list("notMethods", o.methods.out), list("paths", o.paths.in),
                 list("notPaths", o.paths.out)}) +
         "}";
}

std::string write(const Condition& c) {
  return joined({"key: \"" + c.key + "\"", list("values", c.values.in), list("notValues", c.values.out)});
}

std::string write(const Rule& rule) {
  return joined({items("from", rule.from, [](const Source& s) { return write(s); }),
                 items("to", rule.to, [](const Operation& o) { return write(o); }),
                 items("when", rule.when, [](const Condition& c) { return write(c); })});
}

}  // namespace

bool audited(const std::vector<Policy>& policies, const Request& request) {
  for (const Policy& policy : policies) {
    for (const Rule& rule : policy.rules) {
      // Where nobody reads requests it reports what it would have denied.
      if (policy.audit && Reading{request, true}.matches(rule)) return true;
    }
  }
  return false;
}

std::vector<std::string> asked(const std::vector<Policy>& policies, const Request& request) {
  std::vector<std::string> out;
  for (const Policy& policy : policies) {
    if (policy.provider.empty()) continue;
    bool known = false, matches = false;
    for (const std::string& one : out) known = known || one == policy.provider;
    for (const Rule& rule : policy.rules) matches = matches || Reading{request, true}.matches(rule);
    if (matches && !known) out.push_back(policy.provider);
  }
  return out;
}

bool allowed(const std::vector<Policy>& policies, const Request& request, bool as_if_enforced) {
  bool any_allow = false, allows = false;
  for (const Policy& policy : policies) {
    if (policy.audit || (policy.dry_run && !as_if_enforced)) continue;
    // Of what is no HTTP nobody can be asked.
    if (!policy.provider.empty() && (request.http || as_if_enforced)) continue;
    bool matches = false;
    for (const Rule& rule : policy.rules) matches = matches || Reading{request, policy.deny}.matches(rule);
    if (policy.deny && matches) return false;
    any_allow = any_allow || !policy.deny;
    allows = allows || (!policy.deny && matches);
  }
  return !any_allow || allows;
}

std::string spec_of(const Policy& policy) {
  std::string action = policy.audit ? "action: AUDIT" : policy.deny ? "action: DENY" : "action: ALLOW";
  if (!policy.provider.empty()) action = "action: CUSTOM, provider: {name: " + policy.provider + "}";
  return "{" + joined({action, items("rules", policy.rules, [](const Rule& r) { return write(r); })}) + "}";
}

}  // namespace weft::agent::plain
