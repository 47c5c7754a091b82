// SPDX-License-Identifier: Apache-2.0
#include "demo_counter_table.hpp"

#include <sqlite3.h>

#include <stdexcept>

namespace lockbyfile::demo {

namespace {
constexpr int wait_for_sqlite = 120'000;  // ms
}

counter_table::counter_table(const std::string& path) {
  sqlite3* database = nullptr;
  const int opened = sqlite3_open(path.c_str(), &database);
  database_.reset(database);
  check(opened, SQLITE_OK);
  check(sqlite3_busy_timeout(database, wait_for_sqlite), SQLITE_OK);
  // The demo is about lost updates, not about power cuts.
  execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;");
  execute(
      "CREATE TABLE IF NOT EXISTS counter"
      " (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER, token INTEGER);"
      "INSERT OR IGNORE INTO counter VALUES (1, 0, 0);");
  select_ = prepare("SELECT value, token FROM counter");
  update_ = prepare("UPDATE counter SET value = ?1, token = ?2");
}

counter_table::row counter_table::read() {
  check(sqlite3_step(select_.get()), SQLITE_ROW);
  const row found{.value = sqlite3_column_int64(select_.get(), 0),
                  .token = sqlite3_column_int64(select_.get(), 1)};
  check(sqlite3_reset(select_.get()), SQLITE_OK);
  return found;
}

void counter_table::write(const row& to) {
  check(sqlite3_bind_int64(update_.get(), 1, to.value), SQLITE_OK);
  check(sqlite3_bind_int64(update_.get(), 2, to.token), SQLITE_OK);
  check(sqlite3_step(update_.get()), SQLITE_DONE);
  check(sqlite3_reset(update_.get()), SQLITE_OK);
}

void counter_table::execute(const char* sql) {
  check(sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr), SQLITE_OK);
}

counter_table::statement counter_table::prepare(const char* sql) {
  sqlite3_stmt* prepared = nullptr;
  check(sqlite3_prepare_v2(database_.get(), sql, -1, &prepared, nullptr), SQLITE_OK);
  return statement(prepared);
}

void counter_table::check(int result, int expected) const {
  if (result != expected)
    throw std::runtime_error(std::string("SQLite: ") + sqlite3_errmsg(database_.get()));
}

void counter_table::closer::operator()(sqlite3* database) const noexcept {
  sqlite3_close(database);
}

void counter_table::closer::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

}  // namespace lockbyfile::demo
