// What holds for the whole mesh, and what follows from it: the one resource for proxies, default retries of
// routes, and warnings about who is asked and is not there. Pure; of the compiler.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// The one that counts: Weft's own before Istio's. nullptr: there is none, and everything is as by default.
const MeshConfig* mesh_config_of(const Objects& objects);

// Whether the next one changes anything, for some routes. nullptr: no.
bool adds_retries(const MeshConfig* mesh);
// Routes that say nothing about it are tried again as the mesh says.
void add_default_retries(const MeshConfig* mesh, mesh::v1::RouteSet& routes);

// Those of `routes` that are for the mesh, as it wants them; nullptr: none. In `made`, unless they are as
// they stand.
const mesh::v1::RouteSet* routes_on_mesh(const VirtualService& service, const mesh::v1::RouteSet& routes,
                                         const MeshConfig* mesh, std::optional<mesh::v1::RouteSet>& made);

// A ConfigMap that another one takes the place of, providers whose service or port nobody has, and policies
// that name a provider that the mesh does not have.
void check_mesh_config(const Objects& objects, std::vector<Finding>* out);

}  // namespace weft::control_plane
