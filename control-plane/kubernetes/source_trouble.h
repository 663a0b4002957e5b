// What reflectors are stuck with, for people: one line for each cause, with the kinds it stops and what to
// do. Pure.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

std::vector<std::string> describe_trouble(const std::string& server,
                                          const std::vector<std::unique_ptr<Reflector>>& reflectors,
                                          Reflector::Clock::time_point now);

}  // namespace weft::control_plane
