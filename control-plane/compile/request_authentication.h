// RequestAuthentications with the keys that were fetched for them. Pure; the compiler calls it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"

namespace weft::control_plane {

// By their sources (resource/key_source.h).
struct FetchedKeys {
  // The JSON Web Key Set that was there last; those that are not here are not known yet.
  std::map<std::string, std::string> sets;
  // Why the last attempt failed, where it did: "WHAT; next: WHAT TO DO".
  std::map<std::string, std::string> problems = {};
};

std::set<std::string> keys_to_fetch(const Objects& objects);

// A rule whose keys are not known yet has none, so that no token of its issuer is good.
mesh::v1::RequestAuthentication with_keys(const RequestAuthentication& object, const FetchedKeys& keys);

// A finding for each rule whose keys are not known yet, or could not be fetched anew.
void add_missing_keys(const Objects& objects, const FetchedKeys& keys, std::vector<Finding>* out);

}  // namespace weft::control_plane
