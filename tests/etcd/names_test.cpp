// SPDX-License-Identifier: Apache-2.0
//
// From a name to servers, options and keys; and back, for list.
#include <gtest/gtest.h>

#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "etcd/key.hpp"
#include "etcd/url.hpp"
#include "etcd/value.hpp"

namespace lockbyfile::etcd {
namespace {

TEST(EtcdUrl, NamesServersAndALock) {
  const address a = parse_url("etcd://one,two:4000/jobs/nightly");
  EXPECT_FALSE(a.tls);
  EXPECT_EQ(a.endpoints, (std::vector<std::string>{"one:2379", "two:4000"}));
  EXPECT_EQ(a.name, "jobs/nightly");
  EXPECT_EQ(a.ttl, 10U);
  EXPECT_FALSE(a.raw);
}

TEST(EtcdUrl, TakesAddressesOfIPv6InBrackets) {
  const address a = parse_url("etcds://[::1]:2380,[fe80::1]/x");
  EXPECT_TRUE(a.tls);
  EXPECT_EQ(a.endpoints, (std::vector<std::string>{"[::1]:2380", "[fe80::1]:2379"}));
}

TEST(EtcdUrl, TakesAUserAndOptions) {
  const address a = parse_url("etcd://kim@h/x?ttl=30&raw");
  EXPECT_EQ(a.user, "kim");
  EXPECT_EQ(a.ttl, 30U);
  EXPECT_TRUE(a.raw);
}

TEST(EtcdUrl, IsTheSameWhenReadAgain) {
  for (const char* url : {"etcd://h:2379/x", "etcds://kim@[::1]:1,b:2/a/b%20c?ttl=3&raw",
                          "etcd://h:2379/%3Alock/%25"}) {
    EXPECT_EQ(parse_url(url).text(), url);
  }
}

TEST(EtcdUrl, RefusesWhatNamesNoLock) {
  for (const char* url :
       {"etcd://",          "etcd:///x",        "etcd://h",         "etcd://h/",
        "etcd://h/a//b",    "etcd://h/a/",      "etcd://h:0/x",     "etcd://h:65536/x",
        "etcd://h:x/x",     "etcd://::1/x",     "etcd://[::1/x",    "etcd://[x]/x",
        "etcd://h,/x",      "etcd://h/%",       "etcd://h/%zz",     "etcd://h/a%00b",
        "etcd://h/x?ttl=0", "etcd://h/x?ttl=x", "etcd://h/x?tll=1", "etcd://h/x?",
        "etcd://@h/x",      "etcd://h h/x"}) {
    try {
      (void)parse_url(url);
      ADD_FAILURE() << url;
    } catch (const lock_error& e) {
      EXPECT_EQ(e.code(), errc::invalid_name) << url;
    }
  }
}

TEST(EtcdUrl, TakesAnyNameThatOthersChoseForARawLock) {
  for (const char* name : {"/my-lock", "my-lock/", "/", "a//b", "/a/b//"}) {
    const std::string url = "etcd://h:2379/" + std::string(name) + "?raw";
    EXPECT_EQ(parse_url(url).name, name);
    EXPECT_EQ(parse_url(url).text(), url);
  }
  EXPECT_EQ(lock_keys("/my-lock/", true).place(0x1f), "/my-lock//1f") << "as clientv3's NewMutex";
}

TEST(EtcdUrl, RefusesAPasswordAndDoesNotRepeatIt) {
  try {
    (void)parse_url("etcd://kim:sesame@h/x");
    FAIL();
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::invalid_name);
    EXPECT_EQ(std::string(e.what()).find("sesame"), std::string::npos) << e.what();
    EXPECT_EQ(e.path().find("sesame"), std::string::npos) << e.path();
  }
}

TEST(EtcdUrl, RefusesANameThatIsTooLong) {
  EXPECT_EQ(parse_url("etcd://h/" + std::string(1024, 'x')).name.size(), 1024U);
  EXPECT_THROW((void)parse_url("etcd://h/" + std::string(1025, 'x')), lock_error);
}

TEST(EtcdKey, OfALockIsNotBelowThatOfAnother) {
  for (const char* other : {"n/b", "n:lock/x", "n:lock", "n0", "n/config"}) {
    const lock_keys n("n", false);
    const lock_keys o(other, false);
    EXPECT_FALSE(o.place(1).starts_with(n.prefix)) << other;
    EXPECT_FALSE(o.record.starts_with(n.prefix)) << other;
    EXPECT_FALSE(std::string(other).starts_with(n.prefix) && std::string(other) != "n:lock/x");
  }
}

TEST(EtcdKey, LiesInTheRangeOfItsLockAndTheRecordBefore) {
  const lock_keys k("a/b", false);
  for (const std::int64_t lease : {std::int64_t{1}, std::int64_t{0x7fffffffffffffff}}) {
    EXPECT_GE(k.place(lease), k.prefix);
    EXPECT_LT(k.place(lease), k.prefix_end);
  }
  EXPECT_LT(k.record, k.prefix);
}

TEST(EtcdKey, OfARawLockIsThatOfEtcdctl) {
  EXPECT_EQ(lock_keys("a b/c", true).place(0x694d7a1b2c3d4e5f), "a b/c/694d7a1b2c3d4e5f");
}

TEST(EtcdKey, TellsTheNameAgain) {
  for (const std::string name : {"a", "a/b", "ä:lock/x y", "%", "\x01\xff/~"}) {
    const lock_keys k(name, false);
    EXPECT_EQ(name_of_key(k.record), name);
    EXPECT_EQ(name_of_key(k.place(77)), name);
  }
  for (const char* foreign : {"a", "a/b", "a:locks", "a:lockx/1", ":lock", ""})
    EXPECT_EQ(name_of_key(foreign), std::nullopt) << foreign;
}

TEST(EtcdValue, TellsAgainWhatWasWritten) {
  entry e;
  e.pid = 12;
  e.user = 1000;
  e.command = "back\"up\xff";
  e.host = "elsewhere";
  e.lease_ns = 5;
  e.is_granted = true;
  e.token = (std::uint64_t{1} << 52) - 1;
  e.how = grant_kind::abandoned;
  const entry again = read_entry(written(e));
  EXPECT_TRUE(again.is_ours);
  EXPECT_EQ(again.who().pid, 12U);
  EXPECT_EQ(again.who().user, 1000U);
  EXPECT_EQ(again.who().host, "elsewhere");
  EXPECT_EQ(again.lease_ns, 5);
  EXPECT_TRUE(again.is_granted);
  EXPECT_FALSE(again.is_expired);
  EXPECT_EQ(again.token, e.token);
  const auto r = read_record(written(record{e, 7, ending::expired}));
  ASSERT_TRUE(r);
  EXPECT_EQ(r->created, 7);
  EXPECT_EQ(r->end, ending::expired);
  EXPECT_EQ(r->holder.token, e.token);
}

TEST(EtcdValue, ARecordKeepsTheLastBreakAndTheLastRun) {
  using std::chrono::milliseconds;
  const std::chrono::system_clock::time_point at(milliseconds(1'700'000'000'123));
  record r;
  r.before.last_break = break_info{fencing_token(5), {7, 8, "op", "elsewhere"}, at};
  r.before.last_run = run_info{fencing_token(6), milliseconds(90), 3, at};
  const auto again = read_record(written(r));
  ASSERT_TRUE(again && again->before.last_break && again->before.last_run);
  EXPECT_EQ(again->before.last_break->by, (party{7, 8, "op", "elsewhere"}));
  EXPECT_EQ(again->before.last_break->token, fencing_token(5));
  EXPECT_EQ(again->before.last_break->at, at);
  EXPECT_EQ(again->before.last_run->exit_code, 3);
  EXPECT_EQ(again->before.last_run->duration, milliseconds(90));
  EXPECT_EQ(again->before.last_run->ended, at);
}

TEST(EtcdValue, ARecordOfAnOlderBuildIsReadWithoutThem) {
  const auto r = read_record(R"({"holder":{"pid":1,"token":2},"created":2,"end":2})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->end, ending::broken);
  EXPECT_FALSE(r->before.last_break);
  EXPECT_FALSE(r->before.last_run);
}

TEST(EtcdValue, OfOthersIsNothingKnownAndNoError) {
  for (const char* text : {"", "x", "{", "[]", "7", R"({"pid":"x"})", R"({"pid":-1,"how":99})",
                           R"({"holder":[],"end":-5})", "\xff\xfe", R"({"lease_ns":-4})"}) {
    EXPECT_EQ(read_entry(text).token, 0U) << text;
    EXPECT_EQ(read_entry(text).lease_ns, 0) << text;
    (void)read_record(text);
  }
}

}  // namespace
}  // namespace lockbyfile::etcd
