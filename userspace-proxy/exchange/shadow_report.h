// What policies that decide nothing say of what was let in: counted, and a line a second is enough to find
// out which. Worker thread only.
#pragma once

#include "base/log.h"
#include "userspace-proxy/exchange/context.h"

namespace weft::proxy {

inline void report_shadow(ProxyContext& context, const CaptureOrigin& pod, const SocketAddress& client,
                          uint16_t port, const ShadowPolicy::Report& said) {
  if (said.dry_run) ++(said.allowed ? context.shadow.allowed : context.shadow.denied);
  if (!said.audited_by.empty()) ++context.shadow.audited;
  if ((said.allowed && said.audited_by.empty()) || context.loop.now() < context.next_shadow_line) return;
  context.next_shadow_line = context.loop.now() + kNsPerSecond;
  const auto line = [&](std::string_view event, std::string_view policy) {
    log::info(event, {{"workload", pod.workload_uid()},
                      {"client", client.to_string()},
                      {"port", port},
                      {"policy", policy}});
  };
  if (!said.allowed) line("shadow_denied", said.denied_by);
  if (!said.audited_by.empty()) line("audited", said.audited_by);
}

}  // namespace weft::proxy
