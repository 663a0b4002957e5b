// The short way for what changes most in a mesh: a VirtualService whose routes are others, and that is for
// the same hosts and clients as before. Then nothing but its own RouteSet is another, and the rest is not
// compiled. Pure; of the pipeline.
#pragma once

#include <cstdint>

#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {

// Whether what became of the object concerns no resource and no finding but the object's own.
bool changes_own_routes(const ObjectChange& change);

// Puts into `rest`, and tells in `out`, what the routes of this VirtualService are now. `compiled` is the
// revision of it that `rest` has, between which and now all changes of it were such changes. False, and
// nothing is done, when it takes more: there is, or was, something to say about it.
bool compile_own_routes(const ObjectKey& key, uint64_t compiled, const Objects& objects, Compiled& rest,
                        Change& out);

}  // namespace weft::control_plane
