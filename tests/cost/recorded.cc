// See recorded.h. Bodies are filler: the proxy does not look at them.
#include "tests/cost/recorded.h"

#include "base/strings.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kLoadGeneratorGet = "GET /item/17 HTTP/1.1\r\nHost: cart\r\n\r\n";

constexpr std::string_view kNginxHead =
    "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 02 Jan 2024 10:20:30 GMT\r\n"
    "Content-Type: application/json\r\n";

// A browser behind a gateway: long field values, a cookie, tracing.
constexpr std::string_view kBrowserGet =
    "GET /cart/items?user=4711&currency=EUR&page=2 HTTP/1.1\r\n"
    "Host: cart.shop.svc.cluster.local\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cache-Control: max-age=0\r\n"
    "Cookie: session=0f3a9c1b7d5e4f6a8b2c0d1e3f5a7b9c; consent=yes; theme=dark; basket=a1b2c3d4e5f6\r\n"
    "Referer: http://shop.example.com/cart\r\n"
    "X-Forwarded-For: 198.51.100.7\r\n"
    "X-Forwarded-Proto: https\r\n"
    "X-Request-Id: 5f0c1d1e-7a3b-4c59-9a57-1f2e3d4c5b6a\r\n"
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    "Connection: keep-alive\r\n\r\n";

std::string chunks(size_t count, size_t bytes) {
  std::string out;
  for (size_t i = 0; i < count; ++i) str_append(&out, "200\r\n", std::string(bytes, 'c'), "\r\n");
  return out + "0\r\n\r\n";
}

std::string with_length(std::string_view head, size_t bytes) {
  return str_cat(head, "Content-Length: ", bytes, "\r\n\r\n", std::string(bytes, 'b'));
}

}  // namespace

std::vector<Recorded> recorded_exchanges() {
  return {
      {"get_empty", std::string(kLoadGeneratorGet), with_length(kNginxHead, 0)},
      {"get_1k", std::string(kLoadGeneratorGet), with_length(kNginxHead, 1024)},
      {"browser_get_1k", std::string(kBrowserGet), with_length(kNginxHead, 1024)},
      {"post_4k",
       with_length("POST /cart/items HTTP/1.1\r\nHost: cart\r\nContent-Type: application/json\r\n", 4096),
       with_length(kNginxHead, 64)},
      {"get_8_chunks", std::string(kLoadGeneratorGet),
       str_cat(kNginxHead, "Transfer-Encoding: chunked\r\n\r\n", chunks(8, 0x200))},
  };
}

std::vector<RecordedHttp2> recorded_http2_exchanges() {
  const RecordedHttp2::Fields get = {
      {":method", "GET"}, {":scheme", "http"}, {":authority", "cart"}, {":path", "/item/17"}};
  const RecordedHttp2::Fields ok = {{":status", "200"},
                                    {"server", "nginx/1.22.1"},
                                    {"date", "Tue, 02 Jan 2024 10:20:30 GMT"},
                                    {"content-type", "application/json"},
                                    {"content-length", "1024"}};
  // As clients of the gRPC libraries send it.
  const RecordedHttp2::Fields call = {{":method", "POST"},
                                      {":scheme", "http"},
                                      {":path", "/shop.Cart/AddItem"},
                                      {":authority", "cart"},
                                      {"content-type", "application/grpc"},
                                      {"user-agent", "grpc-c++/1.51.1 grpc-c/29.0.0 (linux; chttp2)"},
                                      {"te", "trailers"},
                                      {"grpc-timeout", "20S"}};
  return {
      {.name = "h2_to_h1_get_1k", .request = get, .http1_response = with_length(kNginxHead, 1024)},
      {.name = "h2_to_h2_get_1k", .request = get, .response = ok, .response_body = std::string(1024, 'b')},
      {.name = "grpc_unary",
       .request = call,
       .request_body = std::string(128, 'q'),
       .response = {{":status", "200"}, {"content-type", "application/grpc"}},
       .trailers = {{"grpc-status", "0"}},
       .response_body = std::string(128, 'a')},
  };
}

}  // namespace weft::proxy
