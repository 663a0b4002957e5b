// One resource of the mesh as delta ADS carries it, serialised once. The compiler makes it; the ADS server
// and the agent's model keep it, and all of them hold the same bytes. Included through control_plane.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"

namespace weft::control_plane {

// A reference to one immutable allocation: header, name, version, body. Copies share it, from any thread.
// Never empty but for a moved-from one, which may only be assigned to or destroyed.
class Resource {
 public:
  // `type_url` is one of the k…Type constants, or outlives every copy as they do. `version` changes exactly
  // when `body` does, the serialised message of that type. Each text is below 4 GiB, as protobuf demands.
  Resource(const char* type_url, std::string_view name, std::string_view version, std::string_view body) {
    void* memory = ::operator new(sizeof(Block) + name.size() + version.size() + body.size());
    block_ = new (memory) Block{.references = 1,
                                .name = static_cast<uint32_t>(name.size()),
                                .version = static_cast<uint32_t>(version.size()),
                                .body = static_cast<uint32_t>(body.size()),
                                .type_url = type_url};
    char* out = reinterpret_cast<char*>(block_ + 1);
    for (const std::string_view part : {name, version, body}) {
      if (!part.empty()) std::memcpy(out, part.data(), part.size());
      out += part.size();
    }
  }
  Resource(const Resource& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Resource(Resource&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Resource& operator=(Resource other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Resource() {
    if (block_ == nullptr || block_->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    block_->~Block();
    ::operator delete(block_);
  }

  const char* type_url() const { return block_->type_url; }
  std::string_view name() const { return {text(), block_->name}; }
  std::string_view version() const { return {text() + block_->name, block_->version}; }
  std::string_view body() const { return {text() + block_->name + block_->version, block_->body}; }
  // Reads the body into a protobuf message; false when it is none of that type.
  template <typename Message>
  bool decode(Message* out) const {
    return out->ParseFromArray(body().data(), static_cast<int>(body().size()));
  }

 private:
  struct Block {
    std::atomic<uint32_t> references;
    uint32_t name;
    uint32_t version;
    uint32_t body;
    const char* type_url;
  };
  const char* text() const { return reinterpret_cast<const char*>(block_ + 1); }

  Block* block_;
};

// For hash sets of resources, or of what has one, that are searched by name.
struct NameOf {
  static std::string_view name(std::string_view text) { return text; }
  static std::string_view name(const Resource& resource) { return resource.name(); }
  template <typename Pointer>
  static auto name(const Pointer& holder) -> decltype(holder->resource.name()) {
    return holder->resource.name();
  }
};
struct HashByName {
  using is_transparent = void;
  template <typename T>
  size_t operator()(const T& value) const {
    return absl::Hash<std::string_view>()(NameOf::name(value));
  }
};
struct EqualByName {
  using is_transparent = void;
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return NameOf::name(a) == NameOf::name(b);
  }
};

}  // namespace weft::control_plane
