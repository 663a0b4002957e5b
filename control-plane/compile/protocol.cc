// See protocol.h. appProtocol values: Kubernetes KEP-3726 (kubernetes.io/h2c, /ws, /wss) and Istio's protocol
// selection page.
#include "control-plane/compile/protocol.h"

#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using mesh::v1::Protocol;

struct Row {
  std::string_view word;
  Protocol protocol;
};

constexpr std::array<Row, 22> kWords = {{
    {"http", mesh::v1::PROTOCOL_HTTP},
    {"kubernetes.io/ws", mesh::v1::PROTOCOL_HTTP},
    {"http2", mesh::v1::PROTOCOL_HTTP2},
    {"h2c", mesh::v1::PROTOCOL_HTTP2},
    {"kubernetes.io/h2c", mesh::v1::PROTOCOL_HTTP2},
    {"grpc", mesh::v1::PROTOCOL_GRPC},
    {"https", mesh::v1::PROTOCOL_TLS},
    {"tls", mesh::v1::PROTOCOL_TLS},
    {"kubernetes.io/wss", mesh::v1::PROTOCOL_TLS},
    {"tcp", mesh::v1::PROTOCOL_TCP},
    {"redis", mesh::v1::PROTOCOL_TCP},
    {"mysql", mesh::v1::PROTOCOL_TCP},
    {"mongo", mesh::v1::PROTOCOL_TCP},
    {"postgres", mesh::v1::PROTOCOL_TCP},
    {"postgresql", mesh::v1::PROTOCOL_TCP},
    {"amqp", mesh::v1::PROTOCOL_TCP},
    {"kafka", mesh::v1::PROTOCOL_TCP},
    {"smtp", mesh::v1::PROTOCOL_TCP},
    {"ssh", mesh::v1::PROTOCOL_TCP},
    {"ftp", mesh::v1::PROTOCOL_TCP},
    {"memcached", mesh::v1::PROTOCOL_TCP},
    {"linkerd.io/opaque", mesh::v1::PROTOCOL_TCP},
}};

// Servers that speak first (or whose clients do not speak HTTP) on their usual ports: looking would only
// delay them.
constexpr std::array<uint16_t, 10> kOpaquePorts = {25, 587, 3306, 4444, 4567, 4568, 5432, 6379, 9300, 11211};

Protocol word_to_protocol(std::string_view word) {
  const std::string lower = absl::AsciiStrToLower(to_absl(word));
  for (const Row& row : kWords) {
    if (row.word == lower) return row.protocol;
  }
  return mesh::v1::PROTOCOL_UNSPECIFIED;
}

}  // namespace

Protocol protocol_of(std::string_view app_protocol, std::string_view port_name, uint16_t port) {
  const Protocol declared = word_to_protocol(app_protocol);
  if (declared != mesh::v1::PROTOCOL_UNSPECIFIED) return declared;
  const Protocol named = word_to_protocol(port_name.substr(0, port_name.find('-')));
  // "grpc-web" is HTTP/1.1 or HTTP/2 with a body format of its own, not gRPC framing.
  if (port_name.starts_with("grpc-web")) return mesh::v1::PROTOCOL_HTTP;
  if (named != mesh::v1::PROTOCOL_UNSPECIFIED) return named;
  for (uint16_t opaque : kOpaquePorts) {
    if (port == opaque) return mesh::v1::PROTOCOL_TCP;
  }
  return mesh::v1::PROTOCOL_UNSPECIFIED;
}

istio::workload::AppProtocol to_istio(Protocol protocol) {
  switch (protocol) {
    case mesh::v1::PROTOCOL_HTTP:
      return istio::workload::HTTP11;
    case mesh::v1::PROTOCOL_HTTP2:
      return istio::workload::HTTP2;
    case mesh::v1::PROTOCOL_GRPC:
      return istio::workload::GRPC;
    case mesh::v1::PROTOCOL_TCP:
      return istio::workload::TCP;
    case mesh::v1::PROTOCOL_TLS:
      return istio::workload::TLS;
    default:
      return istio::workload::UNKNOWN;
  }
}

}  // namespace weft::control_plane
