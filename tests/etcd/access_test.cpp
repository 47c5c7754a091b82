// SPDX-License-Identifier: Apache-2.0
//
// TLS with client certificates, and users with passwords. The right ones work. An error reports the
// wrong ones, and never shows a password.
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

#include "support/etcd_server.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

const std::error_code no_access(EACCES, std::system_category());

std::error_code error_of(const std::string& name, const etcd_access& access,
                         const std::string& words) {
  try {
    lock_options options;
    options.etcd = access;
    named_lock lock(name, options);
    lock.acquire(std::chrono::nanoseconds(0));
    return {};
  } catch (const lock_error& e) {
    EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("sesame"), std::string::npos) << e.what();
    return e.code();
  }
}

class EtcdUsers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    server_.emplace();
    for (const char* deed :
         {"user add root:rootpw", "user grant-role root root", "user add kim:sesame",
          "role add jobs", "role grant-permission --prefix=true jobs readwrite jobs/",
          "user grant-role kim jobs", "auth enable"})
      server_->ctl(deed);
    std::ofstream(file()) << "sesame\n";
  }
  [[nodiscard]] std::string file() const { return server_->directory() + "/password"; }

  std::optional<etcd_server> server_;
};

TEST_F(EtcdUsers, WithTheRightPasswordGetTheLock) {
  EXPECT_EQ(error_of(server_->url("jobs/x"), {.user = "kim", .password_file = file()}, ""),
            std::error_code());
  EXPECT_EQ(error_of(server_->url("jobs/x"), {.user = "kim", .password = "sesame"}, ""),
            std::error_code());
}

TEST_F(EtcdUsers, MayStandInTheNameAndTheEnvironment) {
  ::setenv("LOCKBYFILE_ETCD_PASSWORD_FILE", file().c_str(), 1);
  EXPECT_EQ(error_of("etcd://kim@" + server_->endpoint() + "/jobs/x", {}, ""), std::error_code());
  ::setenv("LOCKBYFILE_ETCD_USER", "kim", 1);
  EXPECT_EQ(error_of(server_->url("jobs/x"), {}, ""), std::error_code());
  ::unsetenv("LOCKBYFILE_ETCD_USER");
  ::unsetenv("LOCKBYFILE_ETCD_PASSWORD_FILE");
}

TEST_F(EtcdUsers, WithAWrongPasswordAreTold) {
  EXPECT_EQ(error_of(server_->url("jobs/x"), {.user = "kim", .password = "open sesame"},
                     "user or password are wrong"),
            no_access);
}

TEST_F(EtcdUsers, AreWantedWhereThereAreAny) {
  EXPECT_EQ(error_of(server_->url("jobs/x"), {}, "none is given"), no_access);
}

TEST_F(EtcdUsers, WithoutPermissionAreTold) {
  EXPECT_EQ(
      error_of(server_->url("other/x"), {.user = "kim", .password = "sesame"}, "no permission"),
      no_access);
}

TEST_F(EtcdUsers, ThatCannotReadTheirPasswordAreTold) {
  EXPECT_EQ(
      error_of(server_->url("jobs/x"), {.user = "kim", .password_file = "/nowhere"}, "/nowhere"),
      std::error_code(ENOENT, std::system_category()));
}

TEST_F(EtcdUsers, AreAuthenticatedAgainWhenTheServerHasForgottenThem) {
  lock_options options;
  options.etcd = {.user = "kim", .password = "sesame"};
  named_lock lock(server_->url("jobs/x"), options);
  lock.acquire();
  lock.unlock();
  server_->kill();
  server_->start();
  std::error_code ec;
  if (!eventually([&] { return lock.acquire(std::chrono::seconds(5), {}, ec).has_value(); }))
    FAIL() << ec.message();
}

class EtcdTls : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no openssl";
    authority("ca");
    authority("other");
    certificate("server", "ca");
    certificate("client", "ca");
    certificate("stranger", "other");
    server_.emplace(
        "https", std::vector<std::string>{"--cert-file=" + file("server.pem"),
                                          "--key-file=" + file("server.key"), "--client-cert-auth",
                                          "--trusted-ca-file=" + file("ca.pem")});
    name_ = "etcds://" + server_->endpoint() + "/x";
  }

  [[nodiscard]] std::string file(const std::string& f) const { return directory_.path() + '/' + f; }
  void sh(const std::string& text) const {
    ASSERT_EQ(std::system(("cd " + directory_.path() + " && (" + text + ") >>log 2>&1").c_str()), 0)
        << text;
  }
  void authority(const std::string& n) const {
    sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
       "/CN=" +
       n + " -keyout " + n + ".key -out " + n + ".pem");
  }
  void certificate(const std::string& n, const std::string& by) const {
    sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + n +
       " -keyout " + n + ".key -out " + n +
       ".csr && printf 'subjectAltName=IP:127.0.0.1\\n"
       "extendedKeyUsage=serverAuth,clientAuth\\n' > ext && openssl x509 -req -days 2 -in " +
       n + ".csr -CA " + by + ".pem -CAkey " + by + ".key -CAcreateserial -extfile ext -out " + n +
       ".pem");
  }
  [[nodiscard]] etcd_access access(const std::string& ca, const std::string& own) const {
    etcd_access a;
    a.ca_file = file(ca + ".pem");
    if (!own.empty()) a.cert_file = file(own + ".pem");
    if (!own.empty()) a.key_file = file(own + ".key");
    return a;
  }

  temporary_directory directory_;
  std::optional<etcd_server> server_;
  std::string name_;
};

TEST_F(EtcdTls, WithAClientCertificateGetsTheLock) {
  EXPECT_EQ(error_of(name_, access("ca", "client"), ""), std::error_code());
}

TEST_F(EtcdTls, WithoutAClientCertificateIsTold) {
  EXPECT_EQ(error_of(name_, access("ca", ""), "certificate"), no_access);
}

TEST_F(EtcdTls, WithAStrangersCertificateIsTold) {
  EXPECT_EQ(error_of(name_, access("ca", "stranger"), "certificate"), no_access);
}

TEST_F(EtcdTls, WithAnotherAuthorityIsTold) {
  EXPECT_EQ(error_of(name_, access("other", "client"), "certificate"), no_access);
}

TEST_F(EtcdTls, WantsTheKeyWithTheCertificate) {
  etcd_access a = access("ca", "client");
  a.key_file.clear();
  EXPECT_EQ(error_of(name_, a, "needs its key"), errc::invalid_option);
}

TEST_F(EtcdTls, IsWantedByAServerThatHasIt) {
  EXPECT_EQ(error_of("etcd://" + server_->endpoint() + "/x", {}, "no server answers"),
            errc::unreachable);
}

}  // namespace
}  // namespace lockbyfile
