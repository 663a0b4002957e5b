// See request_authentication.h.
#include "control-plane/compile/request_authentication.h"

#include <string_view>
#include <utility>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/key_source.h"

namespace weft::control_plane {
namespace {

constexpr std::string_view kNext = "; next: ";

Finding keys_missing(const RequestAuthentication& object, size_t rule, const FetchedKeys& keys) {
  const std::string& source = object.key_sources[rule];
  const auto issuer = discovering_issuer(source);
  const std::string_view whose = issuer ? *issuer : std::string_view(source);
  std::string message =
      keys.sets.contains(source)
          ? str_cat("the keys of ", whose.substr(0, 128),
                    " could not be fetched anew; those that were fetched last stay in force")
          : str_cat("there are no keys of ", whose.substr(0, 128), " yet: tokens of the issuer are refused");
  std::string remedy = "see that this node can get the URL, and that it is a JSON Web Key Set";
  if (const auto problem = keys.problems.find(source); problem != keys.problems.end()) {
    const std::string_view text = problem->second;
    const size_t next = text.find(kNext);
    str_append(&message, "; ", text.substr(0, next));
    if (next != std::string_view::npos) remedy = text.substr(next + kNext.size());
  }
  return {kKeysMissing,
          Finding::Level::kWarning,
          object.meta.file,
          object.meta.line,
          key_of(object).to_string(),
          str_cat("spec.jwtRules[", rule, issuer ? "].issuer" : "].jwksUri"),
          std::move(message),
          std::move(remedy)};
}

}  // namespace

std::set<std::string> keys_to_fetch(const Objects& objects) {
  std::set<std::string> out;
  for_each<RequestAuthentication>(objects, [&out](const RequestAuthentication& object) {
    for (const std::string& source : object.key_sources) {
      if (!source.empty()) out.insert(source);
    }
  });
  return out;
}

mesh::v1::RequestAuthentication with_keys(const RequestAuthentication& object, const FetchedKeys& keys) {
  mesh::v1::RequestAuthentication out = object.message;
  for (int i = 0; i < out.rules_size(); ++i) {
    const auto found = keys.sets.find(object.key_sources[static_cast<size_t>(i)]);
    if (found != keys.sets.end()) out.mutable_rules(i)->set_jwks(found->second);
  }
  return out;
}

void add_missing_keys(const Objects& objects, const FetchedKeys& keys, std::vector<Finding>* out) {
  for_each<RequestAuthentication>(objects, [&](const RequestAuthentication& object) {
    for (size_t i = 0; i < object.key_sources.size(); ++i) {
      const std::string& source = object.key_sources[i];
      if (source.empty() || (keys.sets.contains(source) && !keys.problems.contains(source))) continue;
      out->push_back(keys_missing(object, i, keys));
    }
  });
}

}  // namespace weft::control_plane
