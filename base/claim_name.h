// "@request.auth.claims.realm.role": how a match of a VirtualService names a claim of the request's token in
// place of a header (Istio, "JWT claim based routing"). Who writes manifests and who matches requests read it
// by this. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// The name is of this kind, well formed or not, in any letter case. No header has such a name: "@" is none of
// its characters (RFC 9110 §5.6.2), so whoever does not know claims matches nothing by it.
bool names_claim(std::string_view header_name);

// The claim's path from the outermost object inwards: of "@request.auth.claims.a.b" and of
// "@request.auth.claims[a][b]" {"a", "b"}. In brackets a name may have dots. Nullopt: it names no claim, as
// the prefix is not in lower case, a part is empty, a bracket is not closed, or it is longer than 1024 bytes.
std::optional<std::vector<std::string>> claim_path(std::string_view header_name);

}  // namespace weft
