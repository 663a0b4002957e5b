// The system calls of TCP sockets as the backends make them: non-blocking, repeated when a signal interrupted
// them, a negative errno instead of errno.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <span>

#include "base/address.h"

namespace weft::proxy {

// What a send answers that the kernel has put off until the peer has read what went past TCP: nobody tells
// when (bpf/shortcut.bpf.c). For what is tried again, see send_retries.h.
inline constexpr int kNotNow = -EINVAL;

// Bytes, 0 at the end of the stream, or a negative errno.
ssize_t receive(int fd, std::span<char> into);
// Bytes or a negative errno; never raises SIGPIPE.
ssize_t transmit(int fd, std::span<const iovec> pieces);
// 0, -EINPROGRESS or another negative errno.
int begin_connect(int fd, const SocketAddress& address);
// Takes the pending error of the socket (SO_ERROR): 0 or a negative errno.
int take_error(int fd);
// What this connection receives may go past TCP: then bytes may wait in two queues, of which a read empties
// one.
bool takes_shortcut(int fd);
// A descriptor (non-blocking, close-on-exec) or a negative errno.
int accept_from(int listener, SocketAddress* peer);

}  // namespace weft::proxy
