// Path rewriting and redirects: what a route makes of a request's target. Pure functions on a head and the
// compiled action; append to the caller's text, which keeps its memory. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/route/action.h"
#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

// Bytes of `path` that the match covered: its prefix, the whole path for exact and regex, the leading "/"
// when the path was not matched. `match` may be null.
size_t matched_bytes(const HttpMatcher* match, std::string_view path);

// Appends the target that `rewrite` makes of the request's, query included; path and query of `head` are
// those of normalise_target. False when it makes no target of it (a regex may); `out` is to be dropped then.
// "*" and CONNECT have no path and stay.
bool append_rewritten(const PathRewrite& rewrite, const HttpMatcher* match, const RequestHead& head,
                      std::string* out);

// Appends the Location of a redirect: always an absolute URI. The port is left out where it is the scheme's
// own. False as above.
bool append_location(const Redirect& redirect, const HttpMatcher* match, const RequestHead& head,
                     uint16_t dialled_port, std::string* out);

}  // namespace weft::proxy
