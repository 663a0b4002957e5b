// TunnelTest of tunnel_rig.h.
#include "tests/unit/proxy-engine/tunnel_rig.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/strings.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {
namespace {

// In one turn the kernel tells, in the next the engine goes on.
constexpr int kTurnsToSettle = 8;

}  // namespace

IpAddress own_loopback() {
  const auto pid = static_cast<uint32_t>(::getpid());
  return *IpAddress::parse(str_cat("127.", 64 + ((pid >> 16) & 63), ".", (pid >> 8) & 255, ".", pid & 255));
}

UniqueFd listen_at(const IpAddress& ip, uint16_t port, SocketAddress* address) {
  UniqueFd fd(::socket(ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage storage{};
  const socklen_t length = SocketAddress{ip, port}.to_sockaddr(&storage);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(::listen(fd.get(), 1024), 0);
  *address = local_address(fd.get());
  return fd;
}

TunnelTest::Call::Call(TunnelTest& test, const SocketAddress& to)
    : socket(*test.loop_), connector(*test.loop_, *test.home_) {
  const DialParameters dial{.timeout_ms = 60'000,
                            .use = test.client_->use.get(),
                            .terms = {},
                            .hbone = test.hbone_.get(),
                            .tunnel_to = &test.target_};
  step.began(connector.start(step.operation, socket, to, dial));
}

void TunnelTest::SetUp() {
  LoopTest::SetUp();
  if (loop_ == nullptr) return;
  loop_ = std::move(EventLoop::open(GetParam(), &clock_)).value();
  ip_ = own_loopback();
  hbone_listener_ = listen_at(ip_, kHbonePort, &hbone_address_);
  application_ = listen_at(ip_, 0, &application_address_);
  home_ = std::make_unique<HomeNetns>(std::move(HomeNetns::open()).value());
  auto set = std::make_shared<CredentialSet>();
  set->by_workload.emplace(kClientUid, credentials(kClientId));
  set->by_workload.emplace(kServerUid, credentials(kServerId));
  for (const auto& [uid, one] : set->by_workload) set->by_id.emplace(one->id, one);
  tls_.replace(std::move(set));
  hbone_ = std::make_unique<HbonePool>(*loop_, *home_, tls_);
  pool_ = std::make_unique<UpstreamPool>(*loop_, loop_->buffers(), *home_, UpstreamLimits(), faults_);
  context_.reset(new ProxyContext{.loop = *loop_,
                                  .buffers = loop_->buffers(),
                                  .pool = *pool_,
                                  .hbone = *hbone_,
                                  .tls = tls_,
                                  .server_tls = server_tls_,
                                  .balancer = balancer_,
                                  .home = *home_,
                                  .sink = sink_,
                                  .http2_faults = faults_,
                                  .limits = {},
                                  .texts = {},
                                  .share = FairShare(*loop_),
                                  .admission = Admission(AdmissionLimits()),
                                  .current = {}});
  servers_.reset(new HboneServers(*context_, *this));
  client_ = std::make_shared<CaptureOrigin>(1, kClientUid);
  server_ = std::make_shared<CaptureOrigin>(2, kServerUid);
  use_policies({});
}

void TunnelTest::TearDown() {
  if (loop_ == nullptr) return;
  servers_->cut_all();
  hbone_->clear();
  for (int i = 0; i < kTurnsToSettle; ++i) loop_->turn(0);
  servers_.reset();
  context_.reset();
  pool_.reset();
  hbone_.reset();
  loop_->turn(0);
}

CredentialsPtr TunnelTest::credentials(const char* id) const {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = {{GEN_URI, id}}});
  const std::string chain[] = {to_pem(leaf.certificate.get()), to_pem(authority_.certificate.get())};
  auto made = make_credentials(*SpiffeId::parse(id), share(leaf.key.get()), chain, {});
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

void TunnelTest::use_policies(std::vector<std::shared_ptr<const istio::security::Authorization>> policies,
                              std::shared_ptr<const RequestAuthentication> authentication,
                              std::vector<uint16_t> opaque_ports) {
  auto spec = std::make_shared<WorkloadSpec>();
  spec->uid = kServerUid;
  spec->ns = "shop";
  spec->node = "far";
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->generation = ++generation_;
  Source source;
  source.uid = kServerUid;
  source.ns = "shop";
  source.spec = spec;
  source.authorizations = std::make_shared<const AuthorizationList>(std::move(policies));
  source.authentication = std::move(authentication);
  source.opaque_ports = std::move(opaque_ports);
  snapshot->sources.push_back(std::move(source));
  snapshot->source_by_uid.emplace(kServerUid, 0);
  extend(*snapshot);
  context_->current = GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
  servers_->recheck();
}

bool TunnelTest::until(const std::function<bool()>& done) {
  return turn_until([&] {
    while (serving_) {
      sockaddr_storage storage{};
      socklen_t length = sizeof(storage);
      UniqueFd fd(::accept4(hbone_listener_.get(), reinterpret_cast<sockaddr*>(&storage), &length,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) break;
      const auto peer = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
      servers_->serve(server_, std::move(fd), peer.value_or(SocketAddress{}));
    }
    return done();
  });
}

void TunnelTest::pass(uint64_t ms) {
  clock_.advance(ms * kNsPerMs);
  int turns = 0;
  until([&] { return ++turns > kTurnsToSettle; });
}

std::unique_ptr<TunnelTest::Call> TunnelTest::opened() {
  auto made = call();
  EXPECT_TRUE(until([&] { return made->step.done; }));
  EXPECT_EQ(made->status(), ConnectStatus::kConnected);
  return made;
}

FarEnd TunnelTest::accept_application() {
  UniqueFd fd;
  EXPECT_TRUE(until([&] {
    fd.reset(::accept4(application_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return fd.valid();
  }));
  return FarEnd(std::move(fd));
}

int TunnelTest::receive(Call& call, InputBuffer& input) {
  TestStep step;
  step.began(call.socket.recv(step.operation, input));
  EXPECT_TRUE(until([&] { return step.done; }));
  return step.result;
}

int TunnelTest::send(Call& call, std::string_view bytes) {
  TestStep step;
  const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  step.began(call.socket.send(step.operation, std::span(&piece, 1)));
  EXPECT_TRUE(until([&] { return step.done; }));
  return step.result;
}

}  // namespace weft::proxy
