// weft-test-peer: the workloads of the integration tests that no package offers: a raw TCP echo, a protocol
// in which the server speaks first, a server that says who its peer is, an HTTP body source and sink, and a
// client that prints what its socket believes. Started by the harness inside a pod; never part of a release.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

#include "base/address.h"
#include "base/strings.h"
#include "tests/harness/peer_ends.h"
#include "tests/harness/peer_http.h"
#include "tests/harness/peer_io.h"

namespace weft::harness {
namespace {

using Serve = void (*)(Stream&);

void serve_echo(Stream& stream) {
  for (std::string bytes = stream.read_some(); !bytes.empty(); bytes = stream.read_some()) {
    if (!stream.write(bytes)) return;
  }
}

// As SMTP does (RFC 5321 section 4.2): greet at once, then one answer per line.
void serve_greeter(Stream& stream) {
  if (!stream.write("220 weft-test ready\r\n")) return;
  while (const auto line = stream.read_line()) {
    if (*line == "QUIT") {
      stream.write("221 bye\r\n");
      return;
    }
    if (!stream.write("250 ok\r\n")) return;
  }
}

void serve_whoami(Stream& stream) {
  stream.write(str_cat("peer=", stream.peer(), " local=", stream.local(), "\n"));
}

int listen_and_serve(uint16_t port, Serve serve) {
  const UniqueFd listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1, off = 0;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), 1024) != 0) {
    std::perror("listen");
    return 1;
  }
  for (;;) {
    UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) continue;
    std::thread([serve, stream = Stream(std::move(socket))]() mutable { serve(stream); }).detach();
  }
}

UniqueFd dial(const SocketAddress& target, bool mapped) {
  sockaddr_storage storage{};
  socklen_t length = target.to_sockaddr(&storage);
  if (mapped) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    *v6 = {};
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(target.port);
    std::copy(target.ip.bytes.begin(), target.ip.bytes.end(), v6->sin6_addr.s6_addr);
    length = sizeof(*v6);
  }
  UniqueFd socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) socket.reset();
  return socket;
}

// Prints what getpeername and getsockname say, sends `text` when there is one, and prints what comes back
// until the end.
int run_dial(const SocketAddress& target, bool mapped, const std::string& text) {
  UniqueFd socket = dial(target, mapped);
  if (!socket.valid()) {
    std::perror("connect");
    return 1;
  }
  Stream stream(std::move(socket));
  std::printf("peer=%s local=%s\n", stream.peer().c_str(), stream.local().c_str());
  if (!text.empty()) {
    if (!stream.write(text)) return 1;
    stream.finish_writing();
  }
  for (std::string bytes = stream.read_some(); !bytes.empty(); bytes = stream.read_some()) {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}

// Connects, says so, and waits for the other side to end the connection.
int run_hold(const SocketAddress& target) {
  UniqueFd socket = dial(target, false);
  if (!socket.valid()) return 1;
  std::printf("connected\n");
  std::fflush(stdout);
  Stream stream(std::move(socket));
  while (!stream.read_some().empty()) {
  }
  return 0;
}

// Sends each line of standard input and prints the answer, a line too, over one connection. Ends with its
// input; 1 when the connection ends first.
int run_converse(const SocketAddress& target) {
  UniqueFd socket = dial(target, false);
  if (!socket.valid()) {
    std::perror("connect");
    return 1;
  }
  Stream stream(std::move(socket));
  for (std::string line; std::getline(std::cin, line);) {
    if (!stream.write(line + "\n")) return 1;
    const auto answer = stream.read_line();
    if (!answer) return 1;
    std::printf("%s\n", answer->c_str());
    std::fflush(stdout);
  }
  return 0;
}

int run_ends_to(const SocketAddress& target, int argc, char** argv) {
  if (argc != 6) return 64;
  UniqueFd socket = dial(target, false);
  if (!socket.valid()) {
    std::perror("connect");
    return 1;
  }
  Stream stream(std::move(socket));
  return run_ends(stream, std::string_view(argv[3]) == "tunnel", argv[4], argv[5]);
}

int usage() {
  std::fputs(
      "weft-test-peer echo|greeter|whoami|http|ends PORT\n"
      "weft-test-peer dial|dial-mapped|hold|converse IP:PORT [TEXT]\n"
      "weft-test-peer end IP:PORT tunnel|plain client|server fin|reset\n",
      stderr);
  return 64;
}

int main_of(int argc, char** argv) {
  if (argc < 3) return usage();
  const std::string_view mode = argv[1];
  if (mode == "dial" || mode == "dial-mapped" || mode == "hold" || mode == "converse" || mode == "end") {
    const auto target = SocketAddress::parse(argv[2]);
    if (!target) return usage();
    if (mode == "hold") return run_hold(*target);
    if (mode == "converse") return run_converse(*target);
    if (mode == "end") return run_ends_to(*target, argc, argv);
    return run_dial(*target, mode == "dial-mapped", argc > 3 ? argv[3] : "");
  }
  const auto port = parse_integer<uint16_t>(argv[2]);
  if (!port) return usage();
  if (mode == "echo") return listen_and_serve(*port, serve_echo);
  if (mode == "greeter") return listen_and_serve(*port, serve_greeter);
  if (mode == "whoami") return listen_and_serve(*port, serve_whoami);
  if (mode == "http") return listen_and_serve(*port, serve_http);
  if (mode == "counting") return listen_and_serve(*port, serve_counting);
  if (mode == "ends") return listen_and_serve(*port, serve_ends);
  return usage();
}

}  // namespace
}  // namespace weft::harness

int main(int argc, char** argv) { return weft::harness::main_of(argc, argv); }
