// Fuzz target of policies about requests: any path, host and header against terms of any shape. Looks for a
// spelling of a path that passes a rule which denies what the path decodes to, for one that gets in by a rule
// which does not allow that, and for terms that are taken and crash.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;

void require(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<const PolicySet> policy(pb::Action action, const weft::mesh::v1::HttpTerms& terms) {
  auto message = std::make_shared<pb::Authorization>();
  message->set_action(action);
  auto& extension = *message->add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name("weft.mesh.v1.HttpTerms");
  extension.mutable_config()->PackFrom(terms);
  const AuthorizationPtr list[] = {message};
  return std::make_shared<const PolicySet>(list);
}

const agent::PolicyConnection& connection() {
  static const agent::PolicyConnection one{.source = *IpAddress::parse("10.0.0.2"),
                                           .identity = {},
                                           .destination = *SocketAddress::parse("10.0.0.1:80")};
  return one;
}

bool allowed(const std::shared_ptr<const PolicySet>& set, const RequestHead& head) {
  static PathReadings readings;
  const ConnectionPolicy judge(set, connection());
  const auto verdict = judge.judge(judged(head, connection().source, &readings));
  require(verdict.allowed == verdict.policy.empty());
  return verdict.allowed;
}

// What a server that decodes everything makes of it; empty: it is no path.
std::string fully_decoded(const std::string& target) {
  RequestHead head;
  head.target = target;
  if (!split_origin_form(head.target, &head)) return "";
  std::string out;
  const PathResult result = normalise_path(head.path, PathNormalisation::kDecodeAndMergeSlashes, &out);
  if (result == PathResult::kRefused) return "";
  return result == PathResult::kUnchanged ? std::string(head.path) : out;
}

void check_paths(FuzzedDataProvider& data) {
  static const auto denies = [] {
    weft::mesh::v1::HttpTerms terms;
    terms.add_paths()->set_exact("/admin");
    terms.add_paths()->set_prefix("/admin/");
    return policy(pb::DENY, terms);
  }();
  static const auto allows = [] {
    weft::mesh::v1::HttpTerms terms;
    terms.add_paths()->set_prefix("/public/");
    return policy(pb::ALLOW, terms);
  }();
  const auto level = static_cast<PathNormalisation>(data.ConsumeIntegralInRange(0, 3));
  const std::string target = data.ConsumeRemainingBytesAsString();
  RequestHead head;
  head.method = "GET";
  head.target = target;
  if (!split_origin_form(head.target, &head) || !normalise_target(level, &head.rewritten, &head)) return;
  // The application gets what was normalised, and may decode that once more.
  const std::string meant = fully_decoded(std::string(head.target));
  if (meant == "/admin" || meant.starts_with("/admin/")) require(!allowed(denies, head));
  if (!meant.empty() && !meant.starts_with("/public/")) require(!allowed(allows, head));
}

// What a manifest can say: protobuf's texts are UTF-8.
std::string ascii(FuzzedDataProvider& data, size_t most) {
  std::string out = data.ConsumeRandomLengthString(most);
  for (char& c : out) c = static_cast<char>(c & 0x7f);
  return out;
}

void fill(FuzzedDataProvider& data, google::protobuf::RepeatedPtrField<pb::StringMatch>* list) {
  for (int n = data.ConsumeIntegralInRange(0, 2); n > 0; --n) {
    pb::StringMatch& match = *list->Add();
    const std::string text = ascii(data, 16);
    switch (data.ConsumeIntegralInRange(0, 3)) {
      case 0:
        match.set_exact(text);
        break;
      case 1:
        match.set_prefix(text);
        break;
      case 2:
        match.set_suffix(text);
        break;
      default:
        match.mutable_presence();
    }
  }
}

// A DENY and an ALLOW of the same terms: where every reading agrees they are each other's opposite; a rule
// that allows never holds where the one that denies does not.
void check_terms(FuzzedDataProvider& data) {
  weft::mesh::v1::HttpTerms terms;
  fill(data, terms.mutable_methods());
  fill(data, terms.mutable_not_methods());
  fill(data, terms.mutable_hosts());
  fill(data, terms.mutable_not_hosts());
  fill(data, terms.mutable_paths());
  fill(data, terms.mutable_not_paths());
  if (data.ConsumeBool()) terms.add_path_templates(ascii(data, 32));
  if (data.ConsumeBool()) {
    auto& header = *terms.add_headers();
    header.set_name("x-a");
    fill(data, header.mutable_values());
    fill(data, header.mutable_not_values());
  }
  if (terms.ByteSizeLong() == 0) return;
  const std::string method = data.ConsumeRandomLengthString(8), host = data.ConsumeRandomLengthString(32),
                    first = data.ConsumeRandomLengthString(16), second = data.ConsumeRandomLengthString(16),
                    target = "/" + data.ConsumeRemainingBytesAsString();
  RequestHead head;
  head.method = method;
  head.authority = host;
  head.target = target;
  head.headers = {{"X-A", first}, {"x-a", second}};
  if (!split_origin_form(head.target, &head)) return;
  const bool held_for_deny = !allowed(policy(pb::DENY, terms), head);
  const bool held_for_allow = allowed(policy(pb::ALLOW, terms), head);
  require(held_for_deny || !held_for_allow);
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  data.ConsumeBool() ? weft::proxy::check_paths(data) : weft::proxy::check_terms(data);
  return 0;
}
