// See response_bytes.h. Numbers of fields are those of proto/xds/discovery.proto and google.protobuf.Any.
#include "control-plane/discovery/response_bytes.h"

#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

// Fields of DeltaDiscoveryResponse.
constexpr uint8_t kSystemVersionInfo = 1, kResources = 2, kTypeUrl = 4, kNonce = 5, kRemovedResources = 6;
// Of its Resource.
constexpr uint8_t kVersion = 1, kAny = 2, kName = 3;
// Of Any.
constexpr uint8_t kAnyTypeUrl = 1, kAnyValue = 2;
constexpr uint8_t kLengthDelimited = 2;

size_t varint_size(size_t value) {
  size_t out = 1;
  for (; value >= 0x80; value >>= 7) ++out;
  return out;
}

size_t field_size(size_t length) { return 1 + varint_size(length) + length; }

size_t size_of_any(const Resource& resource) {
  return field_size(std::string_view(resource.type_url()).size()) + field_size(resource.body().size());
}

// Of a Resource, without its own head.
size_t size_inside(const Resource& resource) {
  return field_size(resource.version().size()) + field_size(size_of_any(resource)) +
         field_size(resource.name().size());
}

void append_head(uint8_t field, size_t length, std::string& out) {
  out.push_back(static_cast<char>(field << 3 | kLengthDelimited));
  for (; length >= 0x80; length >>= 7) out.push_back(static_cast<char>(length | 0x80));
  out.push_back(static_cast<char>(length));
}

void append_field(uint8_t field, std::string_view text, std::string& out) {
  append_head(field, text.size(), out);
  out.append(text);
}

}  // namespace

size_t encoded_size(const Resource& resource) { return field_size(size_inside(resource)); }

void append_resource(const Resource& resource, std::string& out) {
  append_head(kResources, size_inside(resource), out);
  append_field(kVersion, resource.version(), out);
  append_head(kAny, size_of_any(resource), out);
  append_field(kAnyTypeUrl, resource.type_url(), out);
  append_field(kAnyValue, resource.body(), out);
  append_field(kName, resource.name(), out);
}

grpc::Slice to_slice(std::string text) {
  auto* const kept = new std::string(std::move(text));
  return {kept->data(), kept->size(), [](void* owner) { delete static_cast<std::string*>(owner); }, kept};
}

void ResponseBytes::begin(std::string_view type_url, uint64_t version, std::string_view nonce) {
  append_field(kSystemVersionInfo, str_cat(version), text_);
  append_field(kTypeUrl, type_url, text_);
  append_field(kNonce, nonce, text_);
}

void ResponseBytes::add(const Resource& resource) {
  append_resource(resource, text_);
  ++resources_;
}

void ResponseBytes::add_encoded(const grpc::Slice& encoded, size_t resources) {
  close_text();
  slices_.push_back(encoded);
  resources_ += resources;
}

void ResponseBytes::add_removed(std::string_view name) { append_field(kRemovedResources, name, text_); }

grpc::ByteBuffer ResponseBytes::take() {
  close_text();
  grpc::ByteBuffer out(slices_.data(), slices_.size());
  slices_ = {};
  resources_ = 0;
  return out;
}

void ResponseBytes::close_text() {
  if (!text_.empty()) slices_.push_back(to_slice(std::exchange(text_, {})));
}

}  // namespace weft::control_plane
