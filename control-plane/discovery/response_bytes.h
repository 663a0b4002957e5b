// One answer of delta ADS as bytes: a serialised DeltaDiscoveryResponse, written field by field, so that what
// many clients are told is encoded once and its bytes are shared. No I/O; the caller's thread.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control-plane/resource.h"

namespace weft::control_plane {

// Appends the field `resources` with this one, and how many bytes that are.
size_t encoded_size(const Resource& resource);
void append_resource(const Resource& resource, std::string& out);
// Its memory is the slice's then, and that of all copies of the slice.
grpc::Slice to_slice(std::string text);

class ResponseBytes {
 public:
  // Once, in any order with the others.
  void begin(std::string_view type_url, uint64_t version, std::string_view nonce);
  void add(const Resource& resource);
  // What append_resource() made of so many; the bytes are shared.
  void add_encoded(const grpc::Slice& encoded, size_t resources);
  void add_removed(std::string_view name);
  // For take_kept().
  void keep(std::shared_ptr<const void> kept) { kept_.push_back(std::move(kept)); }

  // That were added.
  size_t resources() const { return resources_; }
  // Empty afterwards.
  grpc::ByteBuffer take();
  // Whoever holds these saves the next stream the work of this one.
  std::vector<std::shared_ptr<const void>> take_kept() { return std::exchange(kept_, {}); }

 private:
  void close_text();

  std::vector<grpc::Slice> slices_;
  std::string text_;  // behind them
  size_t resources_ = 0;
  std::vector<std::shared_ptr<const void>> kept_;
};

}  // namespace weft::control_plane
