// Whether this kernel does what the shortcut (bpf/shortcut.bpf.c) builds on, found by trying: two sockets of
// this process on loopback, a program that sends past TCP between them. Called at start, before anything is
// loaded; leaves nothing behind. One thread, a few milliseconds.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace weft::bpf {

// What was seen of two sockets, the first of which sent `sent` bytes to the second past TCP.
struct ShortcutFindings {
  uint32_t sent = 0;
  // At the second one, before it read: FIONREAD, and what a program sees as its unread bytes.
  uint32_t readable = 0;
  uint32_t unread = 0;
  // Then it read: so many bytes, which were those that were sent, and what a program saw as unread after
  // that.
  uint32_t read = 0;
  bool same = false;
  uint32_t unread_after = 0;
  // How far the sequence numbers of TCP moved at the first and the second one.
  uint32_t written = 0;
  uint32_t copied = 0;
  // Sends that the program had put off (shortcut_plug.h) answered EINVAL, and the next one was as before.
  bool put_off = false;
  // The first one closed; the second one was told so.
  bool ended = false;
};

// Why the shortcut would not be safe on a kernel on which this was found; empty: it is.
std::string shortcut_doubt(const ShortcutFindings& found);

// Errors: what the kernel does not have or refused, in a sentence.
absl::StatusOr<ShortcutFindings> try_shortcut();

}  // namespace weft::bpf
