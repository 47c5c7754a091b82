// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

/// The body of what a server on loopback answers. It closes the connection after it.
inline std::string fetched(const std::string& endpoint, const std::string& path) {
  const auto colon = endpoint.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(colon + 1))));
  ::inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &where.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) {
    const std::string asked = "GET " + path + " HTTP/1.0\r\n\r\n";
    (void)::send(fd, asked.data(), asked.size(), MSG_NOSIGNAL);
    std::array<char, 65536> block{};
    for (ssize_t n = 0; (n = ::read(fd, block.data(), block.size())) > 0;)
      answer.append(block.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  const auto body = answer.find("\r\n\r\n");
  if (body == std::string::npos) throw std::runtime_error("no answer of http://" + endpoint + path);
  return answer.substr(body + 4);
}
