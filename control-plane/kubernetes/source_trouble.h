// What reflectors are stuck with, for people: one line for each cause, with the kinds it stops and what to
// do. Pure.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

// `told`: what was read before is in force.
std::vector<std::string> describe_trouble(const std::string& server,
                                          const std::vector<const Reflector*>& reflectors, bool told,
                                          Reflector::Clock::time_point now);

}  // namespace weft::control_plane
