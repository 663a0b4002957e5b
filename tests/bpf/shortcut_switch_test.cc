// Who may have the shortcut and who not: the agent's switch, kernels that fail the trial, connections that a
// former agent gave it, marks that are not the proxy's; and that a pod which holds its socket holds nobody
// else.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <future>

#include "bpf/abi/constants.h"
#include "bpf/user/programs.h"
#include "tests/bpf/shortcut_node.h"

namespace weft::agent {
namespace {

bool is_pinned(const std::string& pin_root, const char* map) {
  return access(str_cat(pin_root, "/maps/", map).c_str(), F_OK) == 0;
}

class ShortcutSwitchTest : public ShortcutTest {
 protected:
  void reopen_without() {
    kill_dataplane();
    shortcut_ = false;
    open_dataplane();
    ASSERT_EQ(dataplane_->shortcut_problem(), "the agent was started without --shortcut");
  }
  // As a pod does that does not read: until the proxy is put off.
  static std::string send_until_put_off(const Ends& ends) {
    const std::string piece = pattern(30'000, 3);
    std::string sent;
    while (::send(ends.proxy.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 &&
           sent.size() <= WEFT_SHORTCUT_UNREAD)
      sent += piece;
    EXPECT_EQ(errno, EINVAL);
    return sent;
  }
  static void expect_ordinary(const UniqueFd& from, const UniqueFd& to) {
    const std::string piece = pattern(20'000, 4);
    EXPECT_EQ(send_all(from.get(), piece), 0);
    const Deadline deadline;
    while (readable(to) < static_cast<int>(piece.size()) && !deadline.passed()) continue;
    EXPECT_EQ(readable(to), static_cast<int>(piece.size()));
    EXPECT_TRUE(receive(to.get(), piece.size()) == piece);
  }
};

// What only one kind of connection has.
class ShortcutOfCapturedTest : public ShortcutSwitchTest {};
class ShortcutOfDialledTest : public ShortcutSwitchTest {};

TEST_P(ShortcutSwitchTest, OpenConnectionsStayWholeWhenItIsSwitchedOff) {
  Ends ends = connect();
  ASSERT_NO_FATAL_FAILURE(reopen_without());
  const uint64_t joined = stat(WEFT_STAT_SHORTCUT_JOINED);
  const std::string sent = send_until_put_off(ends);
  EXPECT_GT(sent.size(), WEFT_SHORTCUT_UNREAD / 2);
  EXPECT_TRUE(receive(ends.pod.get(), sent.size()) == sent);
  // It leaves the shortcut, and its bytes are counted.
  expect_ordinary(ends.proxy, ends.pod);
  const Ends others = connect();
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_JOINED), joined) << "no new ones";
  ends = {};
  EXPECT_TRUE(rows_become("m_shortcut", 0));
  // Then nothing is left of it.
  kill_dataplane();
  open_dataplane();
  kill_dataplane();
  open_dataplane();
  for (const char* map : {"m_shortcut", "m_shortcut_dial", "m_shortcut_sk", "m_shortcut_sock"})
    EXPECT_FALSE(is_pinned(pin_root(), map)) << map;
}

TEST_P(ShortcutSwitchTest, ItCanBeSwitchedOnAgainWhileConnectionsAreOpen) {
  const Ends ends = connect();
  ASSERT_NO_FATAL_FAILURE(reopen_without());
  kill_dataplane();
  shortcut_ = true;
  open_dataplane();
  EXPECT_EQ(dataplane_->shortcut_problem(), "");
  const uint64_t before = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE), before + 2);
  const Ends others = connect();
  exchange(others, 1000);
  EXPECT_GT(stat(WEFT_STAT_SHORTCUT_MESSAGE), before + 4);
}

TEST_P(ShortcutOfDialledTest, MarkOfTheProxyDoesNotMakeAProxy) {
  // Where connect leaves the mark alone.
  NamespacePlan plan = client_plan();
  plan.shortcut = true;
  plan.exclude_ports = {kPort};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  const UniqueFd listener = listen_in(netns_path(server_), address(GetParam().server, kPort));
  const UniqueFd pretender = dial(address(GetParam().server, kPort), WEFT_MARK_PROXY);
  const UniqueFd server = accept_one(listener.get()).socket;
  EXPECT_EQ(send_all(pretender.get(), "question"), 0);
  EXPECT_EQ(receive(server.get(), 8), "question");
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_JOINED), 0u);
  EXPECT_EQ(open_rows(), 0u);
}

// The kernel makes such an end when the first bytes come.
TEST_P(ShortcutOfCapturedTest, DialWhoseOtherEndDoesNotComeLeavesNothing) {
  const int seconds = 5;
  setsockopt(client_namespace_.listeners.at(0).get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
             sizeof(seconds));
  UniqueFd pod = dial(address(GetParam().vip, kPort));
  EXPECT_EQ(open_rows("m_shortcut_dial"), 1u);
  EXPECT_EQ(open_rows(), 1u);
  const linger reset{.l_onoff = 1, .l_linger = 0};
  setsockopt(pod.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  pod.reset();
  EXPECT_TRUE(rows_become("m_shortcut_dial", 0));
  EXPECT_TRUE(rows_become("m_shortcut", 0));
}

TEST_P(ShortcutOfCapturedTest, DialWhoseOtherEndComesAfterItWasSwitchedOffIsAnOrdinarySocket) {
  const int seconds = 5;
  setsockopt(client_namespace_.listeners.at(0).get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
             sizeof(seconds));
  Ends ends;
  ends.pod = dial(address(GetParam().vip, kPort));
  ASSERT_NO_FATAL_FAILURE(reopen_without());
  EXPECT_EQ(send_all(ends.pod.get(), "question"), 0);
  ends.proxy = accept_one(client_namespace_.listeners.at(0).get()).socket;
  EXPECT_EQ(receive(ends.proxy.get(), 8), "question");
  expect_ordinary(ends.proxy, ends.pod);
}

// A page that nobody has filled yet: whoever writes to it waits, whatever he holds.
class MissingPage {
 public:
  // Not blocking: poll() of any other kind says POLLERR at once (userfaultfd_poll()).
  MissingPage() : fd_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))) {
    if (!fd_.valid()) return;
    page_ =
        static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
    uffdio_register range{.range = {.start = reinterpret_cast<uint64_t>(page_), .len = kBytes},
                          .mode = UFFDIO_REGISTER_MODE_MISSING,
                          .ioctls = 0};
    if (ioctl(fd_.get(), UFFDIO_API, &api) != 0 || ioctl(fd_.get(), UFFDIO_REGISTER, &range) != 0)
      fd_.reset();
  }
  ~MissingPage() {
    if (page_ != nullptr) munmap(page_, kBytes);
  }
  bool valid() const { return fd_.valid(); }
  char* bytes() { return page_; }
  bool somebody_waits() const { return wait_for(fd_.get(), POLLIN); }
  void fill() {
    uffdio_zeropage range{
        .range = {.start = reinterpret_cast<uint64_t>(page_), .len = kBytes}, .mode = 0, .zeropage = 0};
    EXPECT_EQ(ioctl(fd_.get(), UFFDIO_ZEROPAGE, &range), 0);
  }

 private:
  static constexpr size_t kBytes = 4096;
  UniqueFd fd_;
  char* page_ = nullptr;
};

TEST_P(ShortcutSwitchTest, ProxyDoesNotWaitForAPodThatHoldsItsSocket) {
  MissingPage page;
  ASSERT_TRUE(page.valid()) << "no userfaultfd here (CONFIG_USERFAULTFD)";
  const Ends ends = connect();
  EXPECT_EQ(send_all(ends.proxy.get(), "first"), 0);
  auto reads = std::async(std::launch::async, [&] { return ::recv(ends.pod.get(), page.bytes(), 5, 0); });
  EXPECT_TRUE(page.somebody_waits());
  auto sends = std::async(std::launch::async, [&] {
    return ::send(ends.proxy.get(), "again", 5, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? errno : 0;
  });
  const bool returned = sends.wait_for(std::chrono::seconds(kTimeoutSeconds)) == std::future_status::ready;
  page.fill();
  EXPECT_TRUE(returned) << "the proxy's thread waited for the pod";
  EXPECT_EQ(sends.get(), EINVAL);
  EXPECT_EQ(reads.get(), 5);
  // It was nothing but a moment.
  const uint64_t left = stat(WEFT_STAT_SHORTCUT_LEFT_TCP);
  exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_LEFT_TCP), left);
}

constexpr Case kCapturedV4{Kind::kCaptured, kServerV4, kVipV4}, kDialledV4{Kind::kDialled, kServerV4, kVipV4};
INSTANTIATE_TEST_SUITE_P(Kinds, ShortcutSwitchTest, testing::Values(kCapturedV4, kDialledV4), name_of);
INSTANTIATE_TEST_SUITE_P(Kinds, ShortcutOfCapturedTest, testing::Values(kCapturedV4), name_of);
INSTANTIATE_TEST_SUITE_P(Kinds, ShortcutOfDialledTest, testing::Values(kDialledV4), name_of);

class NoShortcutTest : public ScratchNode {
 protected:
  // Of a pod that asks for it.
  void expect_served_by_tcp() {
    NamespacePlan plan = client_plan();
    plan.shortcut = true;
    const auto enrolled = dataplane_->enroll(plan);
    ASSERT_TRUE(enrolled.ok()) << enrolled.status();
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV4, kPort), .send = "question"});
    Accepted accepted = accept_one(enrolled->listeners.at(0).get());
    ASSERT_TRUE(accepted.socket.valid());
    EXPECT_EQ(read_all(accepted.socket.get()), "question");
    write_all(accepted.socket.get(), "answer");
    accepted.socket.reset();
    EXPECT_EQ(dialer.result().received, "answer");
    EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_JOINED), 0u);
  }
};

// Programs that refer to no map of it have no code of it either: such a program would not have been loaded.
TEST_F(NoShortcutTest, WithoutTheSwitchNothingOfItIsThere) {
  const InCgroup in_cgroup(cgroup_);
  open_dataplane();
  EXPECT_EQ(dataplane_->shortcut_problem(), "the agent was started without --shortcut");
  for (const char* map : {"m_shortcut", "m_shortcut_dial", "m_shortcut_sk", "m_shortcut_sock"})
    EXPECT_FALSE(is_pinned(pin_root(), map)) << map;
  expect_served_by_tcp();
}

TEST_F(NoShortcutTest, KernelThatFailsTheTrialSaysWhyAndServesByTcp) {
  const InCgroup in_cgroup(cgroup_);
  auto opened =
      Dataplane::open({.pin_root = pin_root(), .cgroup = cgroup_, .shortcut = true, .try_shortcut = [] {
                         return "it is Tuesday";
                       }});
  ASSERT_TRUE(opened.ok()) << opened.status();
  dataplane_ = *std::move(opened);
  EXPECT_EQ(dataplane_->shortcut_problem(), "it is Tuesday");
  expect_served_by_tcp();
  // One that passes it takes over.
  kill_dataplane();
  shortcut_ = true;
  open_dataplane();
  EXPECT_NE(dataplane_->shortcut_problem(), "it is Tuesday");
}

// Which kernels can do it no version tells: fixes are carried back.
TEST_F(NoShortcutTest, KernelPassesTheTrialWhenFionreadCountsElseItsReasonIsNamed) {
  const auto found = bpf::try_shortcut();
  shortcut_ = true;
  open_dataplane();
  const std::string problem = dataplane_->shortcut_problem();
  if (!found.ok()) {
    EXPECT_EQ(problem, found.status().message());
  } else if (found->same && found->readable != found->sent) {
    EXPECT_NE(problem.find("FIONREAD"), std::string::npos) << problem;
  } else {
    EXPECT_EQ(problem.empty(), bpf::shortcut_doubt(*found).empty()) << problem;
  }
}

// Without it the proxy could not be told to wait.
TEST_F(NoShortcutTest, WithoutASocketThatRefusesEverythingItIsOff) {
  bpf::Programs::Knobs knobs;
  knobs.try_shortcut = [] { return ""; };
  knobs.step = [](std::string_view step) {
    return step == "plug m_shortcut_sock" ? absl::InternalError("injected") : absl::OkStatus();
  };
  const auto programs = bpf::Programs::load(bpf::Pins(pin_root()), knobs);
  ASSERT_TRUE(programs.ok()) << programs.status();
  // A kernel that cannot have the shortcut says so before the socket is asked for.
  const auto found = bpf::try_shortcut();
  const bool capable = found.ok() && bpf::shortcut_doubt(*found).empty();
  const std::string problem = (*programs)->shortcut_problem();
  EXPECT_FALSE(problem.empty());
  EXPECT_TRUE(!capable || problem.find("injected") != std::string::npos) << problem;
  EXPECT_LT((*programs)->map_fd("m_shortcut_sock"), 0);
}

}  // namespace
}  // namespace weft::agent
