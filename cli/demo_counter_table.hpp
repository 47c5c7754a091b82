// SPDX-License-Identifier: Apache-2.0
//
// A counter in an SQLite database, as a careless application keeps it. The application reads the
// row in one transaction and writes it back in another. Each transaction is safe by itself. Two
// processes that do both at once still lose an update.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace lockbyfile::demo {

class counter_table {
 public:
  struct row {
    std::int64_t value = 0;
    std::int64_t token = 0;  // of the grant under which it was written
  };

  /// Opens the database. Creates it with a zero row if it is new. Every member throws
  /// std::runtime_error with SQLite's message. Must not be used after fork.
  explicit counter_table(const std::string& path);

  [[nodiscard]] row read();
  void write(const row& to);

 private:
  struct closer {
    void operator()(sqlite3* database) const noexcept;
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using statement = std::unique_ptr<sqlite3_stmt, closer>;

  void execute(const char* sql);
  statement prepare(const char* sql);
  void check(int result, int expected) const;

  std::unique_ptr<sqlite3, closer> database_;  // outlives its statements
  statement select_;
  statement update_;
};

}  // namespace lockbyfile::demo
