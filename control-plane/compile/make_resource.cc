// See make_resource.h.
#include "control-plane/compile/make_resource.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/strings/str_format.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

// 64 bits, eight bytes at a time: versions are compared for equality only, and the input is not hostile to
// itself. The same in every process, so that a client finds what it has at another server.
std::string hash_of(std::string_view body) {
  constexpr uint64_t kMix = 0x9fb21c651e98df25;
  uint64_t hash = 0xcbf29ce484222325 ^ body.size();
  const auto add = [&hash](uint64_t word) {
    hash = (hash ^ word) * kMix;
    hash ^= hash >> 32;
  };
  for (; body.size() >= sizeof(uint64_t); body.remove_prefix(sizeof(uint64_t))) {
    uint64_t word = 0;
    std::memcpy(&word, body.data(), sizeof(word));
    add(word);
  }
  uint64_t rest = 0;
  if (!body.empty()) std::memcpy(&rest, body.data(), body.size());
  add(rest);
  return absl::StrFormat("%016x", hash);
}

}  // namespace

std::string serialize(const google::protobuf::Message& message) {
  std::string out(message.ByteSizeLong(), '\0');
  google::protobuf::io::ArrayOutputStream stream(out.data(), static_cast<int>(out.size()));
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeWithCachedSizes(&coded);
  return out;
}

Resource make_resource(const char* type, const std::string& name, const google::protobuf::Message& message) {
  const std::string body = serialize(message);
  return Resource(type, name, hash_of(body), body);
}

void extend(google::protobuf::RepeatedPtrField<istio::workload::Extension>& extensions,
            const std::string& name, const google::protobuf::Message& message) {
  istio::workload::Extension& extension = *extensions.Add();
  extension.set_name(name);
  // Not PackFrom: it serialises maps in any order.
  extension.mutable_config()->set_type_url(str_cat("type.googleapis.com/", name));
  extension.mutable_config()->set_value(serialize(message));
}

}  // namespace weft::control_plane
