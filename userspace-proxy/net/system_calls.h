// The system calls of TCP sockets as the backends make them: non-blocking, repeated when a signal interrupted
// them, a negative errno instead of errno.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <span>

#include "base/address.h"

namespace weft::proxy {

// In place of the errno of a send that the kernel has put off until the peer has read what went past TCP:
// nobody tells when. It is tried again, see send_retries.h. No errno is below -4095.
inline constexpr int kNotNow = -4096;

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
// Whether the answer of a send is kNotNow where the connection takes the shortcut: it was put off
// (bpf/shortcut.bpf.c), or the pod, which is charged with what goes past TCP to it, is at its memory's limit.
constexpr bool may_be_put_off(int result) { return result == -EINVAL || result == -ENOMEM; }
// A descriptor (non-blocking, close-on-exec) or a negative errno.
int accept_from(int listener, SocketAddress* peer);

}  // namespace weft::proxy
