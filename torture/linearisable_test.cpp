// SPDX-License-Identifier: Apache-2.0
//
// Histories of a register that no order can explain, and their nearest neighbours, for which
// there is one. Times are in microseconds.
#include "linearisable.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lockbyfile::torture {
namespace {

class Linearisable : public ::testing::Test {
 protected:
  /// By process 1, 2, ...; `end` 0: it was killed in it.
  deed& change(std::uint64_t begin, std::uint64_t end, std::uint64_t read, std::uint64_t written) {
    deed d;
    d.kind = deed_kind::change;
    d.process = static_cast<std::uint32_t>(deeds_.size() + 1);
    d.begin = microseconds(begin);
    d.read = read;
    d.written = written;
    d.result.end = microseconds(end);
    deeds_.push_back(d);
    return deeds_.back();
  }
  void refused(std::uint64_t begin, std::uint64_t end, std::uint64_t read, std::uint64_t written) {
    change(begin, end, read, written).result.error = refused_change;
  }
  void expect(const std::string& fault) const {
    std::vector<const deed*> changes;
    for (const deed& d : deeds_) changes.push_back(&d);
    const auto faults = faults_of_register(changes, timeline(deeds_));
    if (fault.empty()) {
      EXPECT_TRUE(faults.empty()) << faults.front();
    } else {
      ASSERT_FALSE(faults.empty()) << "not found: " << fault;
      EXPECT_NE(faults.front().find(fault), std::string::npos) << faults.front();
    }
  }

  std::vector<deed> deeds_;
};

TEST_F(Linearisable, AcceptsOneAfterTheOther) {
  change(10, 20, 0, 7);
  change(30, 40, 7, 3);
  change(50, 60, 3, 0);
  expect("");
}

TEST_F(Linearisable, AcceptsAnOrderThatIsNotThatOfTheBegins) {
  change(10, 50, 7, 3);
  change(20, 30, 0, 7);
  expect("");
}

TEST_F(Linearisable, AcceptsARefusedChange) {
  change(10, 20, 0, 7);
  refused(15, 60, 7, 4);  // stopped in between
  change(30, 40, 7, 3);
  expect("");
}

TEST_F(Linearisable, AcceptsAChangeOfTheKilledThatHappened) {
  change(10, 0, 0, 7);
  change(30, 40, 7, 3);
  expect("");
}

TEST_F(Linearisable, AcceptsAChangeOfTheKilledThatDidNotHappen) {
  change(10, 0, 0, 7);
  change(30, 40, 0, 3);
  expect("");
}

TEST_F(Linearisable, FindsALostUpdate) {
  change(10, 60, 0, 7);  // stopped between reading and writing
  change(30, 40, 0, 3);
  expect("a lost update");
}

TEST_F(Linearisable, FindsAnUpdateThatNobodySaw) {
  change(10, 20, 0, 7);
  change(30, 40, 0, 0);
  expect("against time");
}

TEST_F(Linearisable, FindsAValueThatNobodyWrote) {
  change(10, 20, 0, 7);
  change(30, 40, 5, 0);
  expect("a value from nowhere");
}

TEST_F(Linearisable, FindsAValueWhoseWriteWasRefused) {
  refused(10, 20, 0, 7);
  change(30, 40, 7, 3);
  expect("outside the chain");
}

TEST_F(Linearisable, FindsAReadOfTheFuture) {
  change(10, 20, 7, 3);
  change(30, 40, 0, 7);
  expect("against time");
}

TEST_F(Linearisable, FindsARing) {
  change(10, 40, 3, 7);
  change(10, 40, 7, 3);
  expect("outside the chain");
}

}  // namespace
}  // namespace lockbyfile::torture
