// Server names in ClientHellos: whole, torn, split over records, and everything that is no ClientHello.
#include "userspace-proxy/http/client_hello.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/client_hello.h"

namespace weft::proxy {
namespace {

std::string name_of(std::string_view bytes) {
  std::string name = "unset";
  switch (read_client_hello(bytes, &name)) {
    case HelloStatus::kNeedMore:
      return "more";
    case HelloStatus::kNotTls:
      return "not tls";
    case HelloStatus::kComplete:
      return str_cat("name ", name);
  }
  return "?";
}

TEST(ClientHelloTest, NamesTheServer) {
  EXPECT_EQ(name_of(client_hello("Shop.Example.COM")), "name shop.example.com");
  EXPECT_EQ(name_of(client_hello("shop.example.com.")), "name shop.example.com");
}

TEST(ClientHelloTest, MayNameNone) {
  EXPECT_EQ(name_of(client_hello("")), "name ");
  // TLS 1.2 without any extension.
  const std::string body =
      str_cat(std::string("\3\3", 2), std::string(32, 'r'), std::string("\0\0\2\x13\1\1\0", 7));
  EXPECT_EQ(name_of(in_record(as_handshake(body))), "name ");
}

TEST(ClientHelloTest, WaitsForWhatIsTorn) {
  const std::string hello = client_hello("a.example");
  for (size_t i = 0; i < hello.size(); ++i) EXPECT_EQ(name_of(hello.substr(0, i)), "more") << i;
  EXPECT_EQ(name_of(str_cat(hello, "what follows")), "name a.example");
}

TEST(ClientHelloTest, IsReadOverManyRecords) {
  const std::string handshake = client_hello("a.example").substr(5);
  for (const size_t piece : {1u, 3u, 50u}) {
    std::string bytes;
    for (size_t at = 0; at < handshake.size(); at += piece) bytes += in_record(handshake.substr(at, piece));
    EXPECT_EQ(name_of(bytes), "name a.example") << piece;
    EXPECT_EQ(name_of(bytes.substr(0, bytes.size() - 1)), "more") << piece;
  }
}

TEST(ClientHelloTest, RefusesWhatIsNone) {
  EXPECT_EQ(name_of("GET / HTTP/1.1\r\n"), "not tls");
  EXPECT_EQ(name_of("\x16\x02"), "not tls") << "SSL 2";
  EXPECT_EQ(name_of(in_record(std::string("\2\0\0\0", 4))), "not tls") << "a ServerHello";
  EXPECT_EQ(name_of(std::string("\x16\3\1\0\0", 5)), "not tls") << "an empty record";
  EXPECT_EQ(name_of(in_record(std::string("\1\1\0\0", 4))), "not tls") << "64 KiB";
  EXPECT_EQ(name_of(in_record(as_handshake("short"))), "not tls");
}

TEST(ClientHelloTest, RefusesNamesThatAreNone) {
  for (const char* name : {"a b", "a/b", "*.example", "a:443", ".example", ".", "a..", "a..b"})
    EXPECT_EQ(name_of(client_hello(name)), "not tls") << name;
  EXPECT_EQ(name_of(client_hello(std::string(256, 'a'))), "not tls");
}

TEST(ClientHelloTest, LengthsThatDisagreeAreRefused) {
  const std::string hello = client_hello("a.example");
  const size_t at = hello.find("a.example");
  // The lengths of the name, of the list of names, and of the extension, in front of it.
  for (const size_t back : {1u, 4u, 6u}) {
    for (const int change : {-1, 1}) {
      std::string bad = hello;
      bad[at - back] = static_cast<char>(bad[at - back] + change);
      EXPECT_EQ(name_of(bad), "not tls") << back << " " << change;
    }
  }
}

}  // namespace
}  // namespace weft::proxy
