// What the CNI plugin and the agent say to each other over <run-dir>/cni.sock (SOCK_SEQPACKET): one request,
// one answer, each a JSON object in one message. Part of the plugin, a small static program, so that it needs
// nothing but the standard library and a JSON parser.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft::agent {

inline constexpr size_t kMostCniBytes = 16 * 1024;

struct CniRequest {
  // "ADD", "CHECK" or "DEL", as in the CNI specification.
  std::string command;
  // Of the pod, as the runtime tells it in CNI_ARGS. The uid may be empty with old runtimes.
  std::string ns;
  std::string name;
  std::string uid;
  // CNI_NETNS; a DEL may have none.
  std::string netns;
  bool operator==(const CniRequest&) const = default;
};

struct CniAnswer {
  enum class Verdict {
    kCaptured,  // in the mesh, and captured now
    kOutside,   // not in the mesh: none of Weft's business
    kUnknown,   // the agent was not told of it in time; as if it had not answered. `error` says so
    kRefused,   // must not start as it is; `error` says why and what to do
  };
  Verdict verdict = Verdict::kRefused;
  std::string error;
  bool operator==(const CniAnswer&) const = default;
};

std::string encode(const CniRequest& request);
std::string encode(const CniAnswer& answer);
// nullopt: not such a message.
std::optional<CniRequest> decode_cni_request(std::string_view text);
std::optional<CniAnswer> decode_cni_answer(std::string_view text);

}  // namespace weft::agent
