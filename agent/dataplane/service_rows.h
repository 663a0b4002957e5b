// Rows of m_svc between the agent's form and the kernel's. Used by the service table only; pure.
#pragma once

#include <cstring>

#include "agent/dataplane/dataplane.h"
#include "bpf/abi/service.h"

namespace weft::agent {

inline weft_svc_key to_key(const ServiceKey& key) {
  weft_svc_key out{};
  std::memcpy(out.ip, key.address.ip.bytes.data(), sizeof(out.ip));
  out.port = key.address.port;
  out.protocol = key.protocol;
  return out;
}

inline ServiceKey from_key(const weft_svc_key& key) {
  ServiceKey out{.address = {.port = key.port}, .protocol = key.protocol};
  std::memcpy(out.address.ip.bytes.data(), key.ip, sizeof(key.ip));
  return out;
}

// The address is dialled as it is and there is nothing else to say of it; see bpf/abi/service.h.
inline bool is_pass(const ServiceEntry& entry) {
  return entry.path == ServiceEntry::Path::kPass && entry.backends.empty() && entry.affinity_seconds == 0 &&
         entry.eject_after == 0;
}

// Its row. It has no tag, which every table has.
inline weft_svc pass_row(const ServiceKey& key, uint32_t id) {
  const weft_svc_key raw = to_key(key);
  weft_svc out{};
  out.id = id;
  out.flags = WEFT_SVC_PASS;
  out.check = weft_svc_check(&raw);
  return out;
}

inline bool is_pass(const weft_svc& row) { return row.flags == WEFT_SVC_PASS && row.tag == 0; }

}  // namespace weft::agent
