// Whether process ids are what kernel programs see.
#include "base/pid_namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/base/scratch_folder.h"

namespace weft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(PidNamespaceTest, TheMachinesOwnIsGood) {
  // The kernel gives the first one this number, whatever else is on the machine.
  const bool first = std::filesystem::read_symlink("/proc/self/ns/pid").string() ==
                     "pid:[" + std::to_string(4026531836) + "]";
  EXPECT_EQ(pid_namespace_problem().empty(), first);
}

TEST(PidNamespaceTest, AnotherOneIsNamedWithWhatFollows) {
  const test::ScratchFolder folder;
  std::ofstream(folder.file("pid")) << "";
  EXPECT_THAT(pid_namespace_problem(folder.file("pid")), HasSubstr("capture what it dials for pods"));
}

TEST(PidNamespaceTest, WhatCannotBeSeenIsNotCalledGood) {
  EXPECT_THAT(pid_namespace_problem("/nowhere/pid"), StartsWith("not known: "));
}

}  // namespace
}  // namespace weft
