// See make_resource.h.
#include "control-plane/compile/make_resource.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/str_format.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

// FNV-1a, 64 bits: versions are compared for equality only, and the input is not hostile to itself.
std::string hash_of(const std::string& body) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : body) hash = (hash ^ c) * 0x100000001b3;
  return absl::StrFormat("%016x", hash);
}

}  // namespace

std::string serialize(const google::protobuf::Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
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
