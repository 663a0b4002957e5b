// The authority of all replicas of weft-control, in a Secret of the API server: whoever finds it empty makes
// a root and puts it there, everybody else takes that one. And its roots in a ConfigMap, so that agents know
// whom to trust and no node ever has the key. Calls wait for the server. No key is in a log or an error.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "control-plane/kubernetes/api_caller.h"
#include "control-plane/kubernetes/object_place.h"

namespace weft::control_plane {

// Puts ca.crt, ca.key and, of an intermediate, roots.crt of the Secret into `folder` (made with mode 0700;
// what an earlier process left there goes), for CertificateAuthority::open(). The Secret must exist; rights:
// get and patch. Errors: it does not, it has one of the two without the other, the server did not answer.
absl::Status fetch_authority(ApiCaller& api, const ObjectPlace& secret, const std::string& folder,
                             absl::Time now);

// fetch_authority(), again and again, ever more rarely, while the server is away (kUnavailable,
// kDeadlineExceeded). `give_up` is asked meanwhile, some times a second: kCancelled once it says so.
absl::Status await_authority(ApiCaller& api, const ObjectPlace& secret, const std::string& folder,
                             const std::function<bool()>& give_up);

// Sees to it that the ConfigMap's ca.crt is `roots`; writes only what differs. It must exist; rights: get and
// patch.
absl::Status publish_roots(ApiCaller& api, const ObjectPlace& config_map, const std::string& roots);

}  // namespace weft::control_plane
