// SPDX-License-Identifier: Apache-2.0
#include "progress.hpp"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <utility>

namespace lockbyfile::cli {
namespace {

constexpr std::size_t bar_width = 32;
constexpr auto too_short_to_show = std::chrono::milliseconds(500);

std::string percent(std::size_t done, std::size_t total) {
  std::string text = std::to_string(done * 100 / total) + " %";
  return std::string(text.size() < 6 ? 6 - text.size() : 0, ' ') + text;
}

void write_error(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

progress::progress(std::string label, std::size_t total)
    : label_(std::move(label)),
      total_(total > 0 ? total : 1),
      on_terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {}

progress::~progress() {
  if (on_terminal_ && shown_ > 0) write_error("\r\033[K");
}

void progress::update(std::size_t done) {
  if (done > total_) done = total_;
  const std::size_t step = done * (on_terminal_ ? 100 : 10) / total_;
  if (step == shown_ || std::chrono::steady_clock::now() - start_ < too_short_to_show) return;
  shown_ = step;
  if (on_terminal_) {
    draw_bar(done);
  } else {
    write_error(label_ + percent(done, total_) + "\n");
  }
}

void progress::draw_bar(std::size_t done) const {
  const std::size_t full = done * bar_width / total_;
  write_error("\r" + label_ + " [" + std::string(full, '#') + std::string(bar_width - full, '.') +
              "]" + percent(done, total_) + time_left(done) + "\033[K");
}

std::string progress::time_left(std::size_t done) const {
  if (done == 0 || done == total_) return "";
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  const double left =
      spent.count() * static_cast<double>(total_ - done) / static_cast<double>(done);
  return ", " + std::to_string(std::lround(std::ceil(left))) + " s left";
}

}  // namespace lockbyfile::cli
