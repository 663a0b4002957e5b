// For the tests of what both backends promise: a loop's sockets against plain blocking ones on 127.0.0.1.
#pragma once

#include <sys/socket.h>

#include "tests/unit/proxy-engine/loop_world.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {

class IoTest : public LoopTest {
 protected:
  // A connected pair: the loop's end in `ours`, the other one returned.
  TestConnection connect_pair(Socket& ours) {
    SocketAddress address;
    const UniqueFd listener = listen_on_loopback(&address);
    TestConnection peer = TestConnection::to(address);
    EXPECT_TRUE(ours.open(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK)), true));
    return peer;
  }
};

}  // namespace weft::proxy
