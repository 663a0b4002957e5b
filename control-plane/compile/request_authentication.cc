// See request_authentication.h.
#include "control-plane/compile/request_authentication.h"

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {

std::set<std::string> keys_to_fetch(const Objects& objects) {
  std::set<std::string> out;
  for_each<RequestAuthentication>(objects, [&out](const RequestAuthentication& object) {
    for (const std::string& uri : object.jwks_uris) {
      if (!uri.empty()) out.insert(uri);
    }
  });
  return out;
}

mesh::v1::RequestAuthentication with_keys(const RequestAuthentication& object, const FetchedKeys& keys) {
  mesh::v1::RequestAuthentication out = object.message;
  for (int i = 0; i < out.rules_size(); ++i) {
    const auto found = keys.find(object.jwks_uris[static_cast<size_t>(i)]);
    if (found != keys.end()) out.mutable_rules(i)->set_jwks(found->second);
  }
  return out;
}

void add_missing_keys(const Objects& objects, const FetchedKeys& keys, std::vector<Finding>* out) {
  for_each<RequestAuthentication>(objects, [&](const RequestAuthentication& object) {
    for (size_t i = 0; i < object.jwks_uris.size(); ++i) {
      const std::string& uri = object.jwks_uris[i];
      if (uri.empty() || keys.contains(uri)) continue;
      out->push_back(
          {kKeysMissing, Finding::Level::kWarning, object.meta.file, object.meta.line,
           key_of(object).to_string(), str_cat("spec.jwtRules[", i, "].jwksUri"),
           str_cat("there are no keys of ", uri.substr(0, 128), " yet: tokens of the issuer are refused"),
           "see that this node can get the URL, and that it is a JSON Web Key Set"});
    }
  });
}

}  // namespace weft::control_plane
