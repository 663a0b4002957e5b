// A message of many small parts in memory of its own: all of it is got in a few pieces, and goes as a whole.
// For messages that objects keep; a value like any other.
#pragma once

#include <google/protobuf/arena.h>

#include <memory>
#include <utility>

namespace weft::control_plane {

template <typename Message>
class OnArena {
 public:
  OnArena() : arena_(std::make_unique<google::protobuf::Arena>(options())) {
    message_ = google::protobuf::Arena::CreateMessage<Message>(arena_.get());
  }
  OnArena(const OnArena& other) : OnArena() { *message_ = *other.message_; }
  // A moved-from one may only be assigned to or destroyed.
  OnArena(OnArena&& other) noexcept
      : arena_(std::move(other.arena_)), message_(std::exchange(other.message_, nullptr)) {}
  OnArena& operator=(OnArena other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(message_, other.message_);
    return *this;
  }

  Message& operator*() { return *message_; }
  const Message& operator*() const { return *message_; }
  Message* operator->() { return message_; }
  const Message* operator->() const { return message_; }

 private:
  // Blocks grow from what a short message needs to what is a small part of a long one.
  static google::protobuf::ArenaOptions options() {
    google::protobuf::ArenaOptions out;
    out.start_block_size = 1024;
    out.max_block_size = 32 * 1024;
    return out;
  }

  std::unique_ptr<google::protobuf::Arena> arena_;
  Message* message_;
};

}  // namespace weft::control_plane
