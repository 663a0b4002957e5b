// The two ways to talk to the kernel that the loop has, and their names for flags, logs and `weft status`.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::proxy {

enum class IoKind : uint8_t { kEpoll, kUring };

constexpr std::string_view name_of(IoKind kind) { return kind == IoKind::kUring ? "uring" : "epoll"; }

}  // namespace weft::proxy
