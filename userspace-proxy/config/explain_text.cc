// See explain_text.h.
#include "userspace-proxy/config/explain_text.h"

#include "base/strings.h"
#include "userspace-proxy/route/mismatch.h"
#include "userspace-proxy/route/rewrite_path.h"

namespace weft::proxy {
namespace {

std::string wanted(const StringMatcher& matcher) {
  const std::string_view letters = matcher.ignore_case ? " (any case)" : "";
  switch (matcher.kind) {
    case StringMatcher::Kind::kExact:
      return str_cat("\"", matcher.text, "\"", letters);
    case StringMatcher::Kind::kPrefix:
      return str_cat("\"", matcher.text, "\"...", letters);
    case StringMatcher::Kind::kSegments:
      return str_cat("\"", matcher.text, "\" or below");
    case StringMatcher::Kind::kRegex:
      return str_cat("regex \"", matcher.text, "\"");
    case StringMatcher::Kind::kAny:
    case StringMatcher::Kind::kPresent:
      break;
  }
  return "any value";
}

std::string differs(std::string_view what, std::string_view value, const StringMatcher& matcher) {
  return str_cat(what, " is \"", value, "\", not ", wanted(matcher));
}

std::string header_text(const NamedMatcher& matcher, const RequestHead& head) {
  const auto value = head.find(matcher.name);
  if (!value) return str_cat("header ", matcher.name, " is absent, not ", wanted(matcher.value));
  return differs(str_cat("header ", matcher.name), *value, matcher.value);
}

std::string source_label_text(const std::pair<std::string, std::string>& label, const SourceView& source) {
  if (source.labels != nullptr) {
    for (const auto& [key, value] : *source.labels) {
      if (key == label.first)
        return str_cat("the client's label ", key, " is \"", value, "\", not \"", label.second, "\"");
    }
  }
  return str_cat("the client has no label ", label.first, ", wanted is \"", label.second, "\"");
}

}  // namespace

std::string mismatch_text(const HttpMatcher& matcher, const RequestHead& head, const SourceView& source,
                          uint16_t dialled_port) {
  using Part = Mismatch::Part;
  const Mismatch mismatch = mismatch_of(matcher, head, source, dialled_port);
  switch (mismatch.part) {
    case Part::kNothing:
      return "it holds";
    case Part::kPort:
      return str_cat("port is ", dialled_port, ", not ", matcher.port);
    case Part::kSourceNamespace:
      return str_cat("the client's namespace is ", source.ns, ", not ", matcher.source_ns);
    case Part::kSourceLabel:
      return source_label_text(matcher.source_labels[mismatch.index], source);
    case Part::kMethod:
      return differs("method", head.method, matcher.method);
    case Part::kUri:
      return differs("path", head.path, matcher.uri);
    case Part::kAuthority:
      return differs("host", head.authority, matcher.authority);
    case Part::kScheme:
      return differs("scheme", head.scheme, matcher.scheme);
    case Part::kHeader:
      return header_text(matcher.headers[mismatch.index], head);
    case Part::kWithoutHeader: {
      const NamedMatcher& without = matcher.without_headers[mismatch.index];
      return str_cat("header ", without.name, " is \"", head.find(without.name).value_or(""),
                     "\", refused is ", wanted(without.value));
    }
    case Part::kQueryParam: {
      const NamedMatcher& param = matcher.query_params[mismatch.index];
      return str_cat("no query parameter ", param.name, " with ", wanted(param.value));
    }
  }
  return "?";
}

std::string percent_text(uint32_t ppm) { return str_cat(ppm / 10'000.0, "%"); }

std::string load_balancer_text(LoadBalancer balancer) {
  switch (balancer) {
    case LoadBalancer::kRoundRobin:
      return "ROUND_ROBIN";
    case LoadBalancer::kRandom:
      return "RANDOM";
    case LoadBalancer::kLeastRequest:
      return "LEAST_REQUEST";
    case LoadBalancer::kPassthrough:
      return "PASSTHROUGH";
    case LoadBalancer::kRingHash:
      return "RING_HASH";
    case LoadBalancer::kMaglev:
      return "MAGLEV";
  }
  return "?";
}

namespace {

void describe_fault(const Fault& fault, std::vector<std::string>* lines) {
  if (fault.delay_ppm > 0)
    lines->push_back(
        str_cat("fault: ", percent_text(fault.delay_ppm), " wait ", fault.delay_ms, " ms first"));
  if (fault.abort_ppm == 0) return;
  const std::string status = fault.http_status != 0
                                 ? str_cat("HTTP ", fault.http_status)
                                 : str_cat("gRPC status ", static_cast<int>(fault.grpc_status));
  lines->push_back(
      str_cat("fault: ", percent_text(fault.abort_ppm), " are answered with ", status, " (fault_abort)"));
}

void describe_answer(const RouteAction& action, const HttpMatcher* matcher, const RequestHead& head,
                     uint16_t dialled_port, std::vector<std::string>* lines) {
  std::string location;
  if (action.redirect && append_location(*action.redirect, matcher, head, dialled_port, &location))
    lines->push_back(str_cat("answers ", action.redirect->code, ", Location: ", location));
  if (action.direct_response)
    lines->push_back(str_cat("answers ", action.direct_response->status, " by itself"));
}

}  // namespace

bool makes_path(const RouteAction& action, const HttpMatcher* matcher, const RequestHead& head) {
  std::string unused;
  return action.path_rewrite.kind == PathRewrite::Kind::kNone ||
         append_rewritten(action.path_rewrite, matcher, head, &unused);
}

void describe_server_names(const L4Host& host, std::vector<std::string>* lines) {
  for (const L4Route& route : host.tls) {
    std::string names;
    for (const L4Matcher& matcher : route.matches) {
      for (const std::string& name : matcher.sni_hosts)
        str_append(&names, names.empty() ? "" : ", ",
                   name.empty()          ? "any"
                   : name.front() == '.' ? str_cat("*", name)
                                         : name);
    }
    lines->push_back(str_cat("a TLS client goes by route ", route.name, " of ", host.name, " when it names ",
                             names.empty() ? "any" : names, "; next: weft trace --tls NAME"));
  }
}

void describe_action(const Route& route, const HttpMatcher* matcher, const RequestHead& head,
                     uint16_t dialled_port, std::vector<std::string>* lines) {
  if (route.action == nullptr) return;
  const RouteAction& action = *route.action;
  if (action.fault) describe_fault(*action.fault, lines);
  if (action.cors) lines->push_back("answers CORS preflights of allowed origins");
  describe_answer(action, matcher, head, dialled_port, lines);
  std::string target;
  if (action.path_rewrite.kind != PathRewrite::Kind::kNone) {
    const bool made = append_rewritten(action.path_rewrite, matcher, head, &target);
    lines->push_back(made ? str_cat("rewrites the path to ", target)
                          : "the rewrite makes no path: answered 500 bad_rewrite");
  }
  if (!action.authority_rewrite.empty())
    lines->push_back(str_cat("rewrites the host to ", action.authority_rewrite));
  const size_t edits = action.request_headers.edits.size() + action.request_headers.remove.size() +
                       action.response_headers.edits.size() + action.response_headers.remove.size();
  if (edits > 0) lines->push_back(str_cat("edits ", edits, edits == 1 ? " header" : " headers"));
  if (action.timeout_ms > 0)
    lines->push_back(str_cat("timeout ", action.timeout_ms, " ms, all tries together"));
  if (action.retries)
    lines->push_back(str_cat("up to ", action.retries->attempts, " further tries, within the retry budget"));
  for (const auto& limiter : action.limits) {
    const RateLimiter::Settings& limit = limiter->settings();
    const std::string by = limit.by == RateLimiter::By::kAll      ? "all clients of a node together"
                           : limit.by == RateLimiter::By::kSource ? "each client"
                                                                  : str_cat("each value of ", limit.header);
    lines->push_back(str_cat("at most ", limit.requests, " requests in ", limit.period_ms, " ms, ",
                             limit.burst, " at once, for ", by, "; beyond that 429 rate_limited"));
  }
}

}  // namespace weft::proxy
