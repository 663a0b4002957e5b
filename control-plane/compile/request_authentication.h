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

// URL to the JSON Web Key Set that was there last; the empty ones are not known yet.
using FetchedKeys = std::map<std::string, std::string>;

std::set<std::string> keys_to_fetch(const Objects& objects);

// A rule whose keys are not known yet has none, so that no token of its issuer is good.
mesh::v1::RequestAuthentication with_keys(const RequestAuthentication& object, const FetchedKeys& keys);

// A finding for each rule whose keys are not known yet.
void add_missing_keys(const Objects& objects, const FetchedKeys& keys, std::vector<Finding>* out);

}  // namespace weft::control_plane
