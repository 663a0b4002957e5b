// HTTP/1 requests that readers have been found to disagree about, some thousand of them, always the same
// ones: every spelling of the framing fields with every body, chunk spellings, request lines, hosts, fields,
// and messages that were changed at random (fixed seed). For the differential framing tests.
#pragma once

#include <string>
#include <vector>

namespace weft::proxy {

// Each is meant to be one request; what it is, the readers have to say.
std::vector<std::string> framing_variants();

}  // namespace weft::proxy
