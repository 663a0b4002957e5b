// Rows of one map in another of a different shape, for every kind of map that the agent pins; sums that
// kernel programs add to at the same moment; what is refused; staged pins. Maps only: no program of Weft
// runs.
#include "bpf/user/migrate.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/strings.h"
#include "bpf/user/map_rows.h"
#include "bpf/user/map_sums.h"
#include "bpf/user/shortcut_plug.h"
#include "tests/harness/sandbox.h"

namespace weft::bpf {
namespace {

UniqueFd make_map(const MapShape& shape) {
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = shape.flags;
  UniqueFd map(bpf_map_create(static_cast<bpf_map_type>(shape.type), "weft_test", shape.key_size,
                              shape.value_size, shape.max_entries, &options));
  EXPECT_TRUE(map.valid()) << shape.to_string() << ": " << std::strerror(errno);
  return map;
}

// The value of row `row`: words row * 1000 + CPU * 10 + word, so that every word is told apart.
std::vector<uint64_t> value_of(const MapShape& shape, uint64_t row) {
  std::vector<uint64_t> out;
  for (size_t cpu = 0; cpu < (shape.per_cpu() ? possible_cpus() : 1); ++cpu) {
    for (size_t word = 0; word < shape.value_size / 8; ++word) out.push_back(row * 1000 + cpu * 10 + word);
  }
  return out;
}

// Keys of 8 bytes (a prefix of 32 bits for tries), of 4 for arrays.
std::array<uint32_t, 2> key_of(const MapShape& shape, uint32_t row) {
  if (shape.type == BPF_MAP_TYPE_LPM_TRIE) return {32, row};
  return {row, 0};
}

void fill(int map, const MapShape& shape, uint32_t rows) {
  for (uint32_t row = 0; row < rows; ++row) {
    const auto key = key_of(shape, row);
    const std::vector<uint64_t> value = value_of(shape, row);
    ASSERT_EQ(bpf_map_update_elem(map, key.data(), value.data(), BPF_ANY), 0) << std::strerror(errno);
  }
}

std::vector<uint64_t> read_row(int map, const MapShape& shape, uint32_t row) {
  std::vector<uint64_t> value(shape.value_bytes() / 8);
  const auto key = key_of(shape, row);
  if (bpf_map_lookup_elem(map, key.data(), value.data()) != 0) return {};
  return value;
}

// What row `row` of shape `from` must look like in shape `to`.
std::vector<uint64_t> carried(const MapShape& from, const MapShape& to, uint32_t row) {
  const std::vector<uint64_t> before = value_of(from, row);
  const size_t from_words = from.value_size / 8, to_words = to.value_size / 8;
  std::vector<uint64_t> out(to.value_bytes() / 8);
  for (size_t cpu = 0; cpu < out.size() / to_words; ++cpu) {
    for (size_t word = 0; word < std::min(from_words, to_words); ++word)
      out[cpu * to_words + word] = before[cpu * from_words + word];
  }
  return out;
}

class CopyTest : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr uint32_t kRows = 3000;

  static MapShape shape(uint32_t value_size) {
    MapShape out{.type = GetParam(), .key_size = 8, .value_size = value_size, .max_entries = kRows};
    if (out.is_array()) out.key_size = 4;
    if (out.type == BPF_MAP_TYPE_LPM_TRIE) out.flags = BPF_F_NO_PREALLOC;
    // The kernel evicts from an LRU before it is full.
    if (out.type == BPF_MAP_TYPE_LRU_HASH || out.type == BPF_MAP_TYPE_LRU_PERCPU_HASH)
      out.max_entries = 65536;
    return out;
  }

  void expect_copied(const MapShape& from, const MapShape& to) {
    const UniqueFd old = make_map(from);
    const UniqueFd fresh = make_map(to);
    ASSERT_NO_FATAL_FAILURE(fill(old.get(), from, kRows));
    const auto copied = copy_rows(old.get(), from, fresh.get(), to, CopyMode::kReplace);
    ASSERT_TRUE(copied.ok()) << copied.status();
    EXPECT_EQ(*copied, kRows);
    for (uint32_t row = 0; row < kRows; ++row)
      ASSERT_EQ(read_row(fresh.get(), to, row), carried(from, to, row)) << row;
  }
};

TEST_P(CopyTest, LongerValuesEndInZeros) { expect_copied(shape(16), shape(32)); }
TEST_P(CopyTest, ShorterValuesKeepTheirPrefix) { expect_copied(shape(32), shape(16)); }

TEST_P(CopyTest, RowsThatExistCanBeLeftAsTheyAre) {
  const UniqueFd old = make_map(shape(8));
  const UniqueFd fresh = make_map(shape(8));
  ASSERT_NO_FATAL_FAILURE(fill(old.get(), shape(8), 3));
  const auto key = key_of(shape(8), 1);
  const std::vector<uint64_t> own(shape(8).value_bytes() / 8, 7);
  ASSERT_EQ(bpf_map_update_elem(fresh.get(), key.data(), own.data(), BPF_ANY), 0);
  ASSERT_TRUE(copy_rows(old.get(), shape(8), fresh.get(), shape(8), CopyMode::kMissing).ok());
  EXPECT_EQ(read_row(fresh.get(), shape(8), 1), own);
  if (shape(8).is_array()) return;  // there every row exists
  EXPECT_EQ(read_row(fresh.get(), shape(8), 2), value_of(shape(8), 2));
}

INSTANTIATE_TEST_SUITE_P(EveryKind, CopyTest,
                         testing::Values(BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY,
                                         BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_PERCPU_HASH,
                                         BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY),
                         [](const auto& kind) { return str_cat("Type", kind.param); });

TEST(MigrateTest, AHundredThousandRowsAreCopied) {
  const MapShape from{.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8, .max_entries = 100'000};
  MapShape to = from;
  to.value_size = 16;
  to.flags = BPF_F_NO_PREALLOC;
  const UniqueFd old = make_map(from);
  const UniqueFd fresh = make_map(to);
  ASSERT_NO_FATAL_FAILURE(fill(old.get(), from, from.max_entries));
  EXPECT_EQ(copy_rows(old.get(), from, fresh.get(), to, CopyMode::kReplace).value(), 100'000u);
  for (uint32_t row = 0; row < from.max_entries; row += 997)
    ASSERT_EQ(read_row(fresh.get(), to, row), carried(from, to, row));
}

TEST(MigrateTest, HashThatIsTooSmallForTheRowsIsAnErrorAndAnArrayIsCutOff) {
  MapShape from{.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8, .max_entries = 64};
  MapShape to = from;
  to.max_entries = 32;
  for (const bool array : {false, true}) {
    if (array) {
      from.type = to.type = BPF_MAP_TYPE_ARRAY;
      from.key_size = to.key_size = 4;
    }
    const UniqueFd old = make_map(from);
    const UniqueFd fresh = make_map(to);
    ASSERT_NO_FATAL_FAILURE(fill(old.get(), from, 64));
    const auto copied = copy_rows(old.get(), from, fresh.get(), to, CopyMode::kReplace);
    if (array) {
      EXPECT_EQ(copied.value(), 32u);
      EXPECT_EQ(read_row(fresh.get(), to, 31), value_of(to, 31));
    } else {
      EXPECT_TRUE(absl::IsResourceExhausted(copied.status())) << copied.status();
    }
  }
}

TEST(MigrateTest, SumsAreAddedAndMissingRowsMade) {
  const MapShape shape{.type = BPF_MAP_TYPE_PERCPU_HASH, .key_size = 12, .value_size = 176, .max_entries = 2};
  const UniqueFd map = make_map(shape);
  const auto adder = SumAdder::create(map.get(), shape, 22);
  ASSERT_TRUE(adder.ok()) << adder.status();
  const Sums sums = {{std::string(12, 'a'), std::vector<uint64_t>(22, 5)},
                     {std::string(12, 'b'), std::vector<uint64_t>(22, 0)}};
  Sums added;
  EXPECT_EQ(adder->add(sums, added).value(), 0u);
  EXPECT_EQ(adder->add(sums, added).value(), 0u);
  Sums now = read_sums(map.get(), shape, 22).value();
  EXPECT_EQ(now.size(), 1u) << "a row of zeros is not worth a row";
  EXPECT_EQ(now[std::string(12, 'a')], std::vector<uint64_t>(22, 10));
  const Sums three = {{std::string(12, 'c'), std::vector<uint64_t>(22, 1)},
                      {std::string(12, 'd'), std::vector<uint64_t>(22, 1)}};
  added.clear();
  EXPECT_EQ(adder->add(three, added).value(), 1u) << "the table has two rows";
  EXPECT_EQ(added.size(), 1u);
}

TEST(MigrateTest, AdditionsOfTwoSidesAtTheSameTimeAreBothKept) {
  for (const uint32_t type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH}) {
    const MapShape shape{.type = type, .key_size = 8, .value_size = 16, .max_entries = 8};
    const UniqueFd map = make_map(shape);
    const auto adder = SumAdder::create(map.get(), shape, 2);
    ASSERT_TRUE(adder.ok()) << adder.status();
    const Sums one = {{std::string(8, 'k'), {1, 3}}};
    const auto work = [&] {
      Sums added;
      for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(adder->add(one, added).ok());
    };
    std::thread other(work);
    work();
    other.join();
    const Sums now = read_sums(map.get(), shape, 2).value();
    EXPECT_EQ(now.at(std::string(8, 'k')), (std::vector<uint64_t>{40'000, 120'000}));
  }
}

TEST(MigrateTest, WhatIsCarriedHowDependsOnTheKindOfMap) {
  const MapShape from{.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 16, .max_entries = 8};
  MapShape to = from;
  EXPECT_EQ(decide_carry("m_netns", from, to, false).value(), Carry::kReuse);
  to.value_size = 24;
  EXPECT_EQ(decide_carry("m_netns", from, to, false).value(), Carry::kCopy);
  EXPECT_EQ(decide_carry("m_bypass", from, to, false).value(), Carry::kSum);
  EXPECT_EQ(decide_carry("m_netns", from, to, true).value(), Carry::kConvert);
  to = from;
  to.flags = BPF_F_NO_PREALLOC;
  EXPECT_EQ(decide_carry("m_netns", from, to, false).value(), Carry::kCopy);
  MapShape sockets{.type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 8, .max_entries = 8};
  MapShape more = sockets;
  more.max_entries = 16;
  EXPECT_EQ(decide_carry("m_listener", sockets, more, false).value(), Carry::kReuse)
      << "sockets cannot be read out";
  sockets.type = more.type = BPF_MAP_TYPE_SK_STORAGE;
  EXPECT_EQ(decide_carry("m_flow_sk", sockets, more, false).value(), Carry::kEmpty);
  const MapShape table{.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 1024, .max_entries = 8};
  MapShape wider = table;
  wider.value_size = 1088;
  EXPECT_EQ(decide_carry("m_socket", table, table, false).value(), Carry::kReuse);
  EXPECT_EQ(decide_carry("m_socket", table, wider, false).value(), Carry::kEmpty)
      << "a copy would be older than what the former programs write";
}

TEST(MigrateTest, OtherKeysAndTypesAreRefusedWithTheReason) {
  const MapShape from{.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 16, .max_entries = 8};
  MapShape key = from;
  key.key_size = 12;
  const absl::Status refused = decide_carry("m_dest", from, key, false).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  for (const char* part : {"m_dest", "key has another size", "key 8 bytes", "key 12 bytes", "cleanup"})
    EXPECT_NE(refused.message().find(part), std::string::npos) << part << " in " << refused;
  MapShape type = from;
  type.type = BPF_MAP_TYPE_LRU_HASH;
  EXPECT_NE(decide_carry("m_dest", from, type, false).status().message().find("its type is another"),
            std::string::npos);
  MapShape odd = from;
  odd.value_size = 12;
  EXPECT_FALSE(decide_carry("m_stats", from, odd, false).ok()) << "sums are whole words";
  MapShape nested{.type = BPF_MAP_TYPE_HASH_OF_MAPS, .key_size = 4, .value_size = 4, .max_entries = 8};
  MapShape longer = nested;
  longer.max_entries = 9;
  EXPECT_FALSE(decide_carry("m_nested", nested, longer, false).ok());
}

class PinsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto sandbox = harness::Sandbox::create("pins");
    ASSERT_TRUE(sandbox.ok()) << sandbox.status();
    sandbox_ = *std::move(sandbox);
  }
  static bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }
  void stage(const std::string& name) {
    const UniqueFd map =
        make_map({.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1});
    ASSERT_TRUE(pins_.prepare_staging().ok());
    ASSERT_EQ(bpf_obj_pin(map.get(), pins_.staged_map(name).c_str()), 0) << std::strerror(errno);
  }

  std::unique_ptr<harness::Sandbox> sandbox_;
  Pins pins_{str_cat("/run/pins-", getpid(), "/bpf/weft")};
};

TEST_F(PinsTest, WhatIsStagedTakesItsPlaceAndReplacesWhatWasThere) {
  ASSERT_TRUE(pins_.prepare().ok());
  for (int round = 0; round < 2; ++round) {
    ASSERT_NO_FATAL_FAILURE(stage("m_one"));
    EXPECT_EQ(exists(pins_.map("m_one")), round == 1);
    ASSERT_TRUE(pins_.publish().ok());
    EXPECT_TRUE(exists(pins_.map("m_one")));
    EXPECT_FALSE(exists(pins_.root() + "/next"));
    EXPECT_FALSE(exists(pins_.root() + "/ready"));
  }
}

TEST_F(PinsTest, StartThatWasCutShortIsFinishedOrDropped) {
  ASSERT_TRUE(pins_.prepare().ok());
  ASSERT_NO_FATAL_FAILURE(stage("m_dropped"));
  ASSERT_TRUE(pins_.prepare().ok());
  EXPECT_FALSE(exists(pins_.map("m_dropped")));
  EXPECT_FALSE(exists(pins_.root() + "/next"));
  ASSERT_NO_FATAL_FAILURE(stage("m_finished"));
  // As when the process dies after the one rename that counts.
  std::filesystem::rename(pins_.root() + "/next", pins_.root() + "/ready");
  ASSERT_TRUE(pins_.prepare().ok());
  EXPECT_TRUE(exists(pins_.map("m_finished")));
  EXPECT_FALSE(exists(pins_.root() + "/ready"));
}

// Open connections need the map that is in force, not one that a start left.
TEST_F(PinsTest, MapOfSocketsThatIsOnlyStagedGoesWithWhatIsInIt) {
  const UniqueFd map =
      make_map({.type = BPF_MAP_TYPE_SOCKHASH, .key_size = 8, .value_size = 8, .max_entries = 2});
  const auto ends = connected_pair();
  ASSERT_TRUE(ends.ok()) << ends.status();
  ASSERT_TRUE(put_socket(map.get(), 7, ends->first).ok());
  ASSERT_TRUE(pins_.prepare().ok());
  ASSERT_TRUE(pins_.prepare_staging().ok());
  ASSERT_EQ(bpf_obj_pin(map.get(), pins_.staged_map("m_shortcut_sock").c_str()), 0) << std::strerror(errno);
  ASSERT_TRUE(pins_.prepare().ok());
  EXPECT_FALSE(exists(pins_.root() + "/next"));
  ASSERT_EQ(bpf_obj_pin(map.get(), pins_.map("m_shortcut_sock").c_str()), 0) << std::strerror(errno);
  EXPECT_TRUE(pins_.holds_shortcuts());
  pins_.remove_all();
  EXPECT_TRUE(exists(pins_.map("m_shortcut_sock")));
}

TEST_F(PinsTest, CleanupRemovesWhatIsStagedToo) {
  ASSERT_TRUE(pins_.prepare().ok());
  ASSERT_NO_FATAL_FAILURE(stage("m_one"));
  EXPECT_FALSE(pins_.remove_all().empty());
  EXPECT_FALSE(exists(pins_.root()));
}

}  // namespace
}  // namespace weft::bpf
