// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile: a named lock between processes, kept in a file.
#pragma once

#include <lockbyfile/error.hpp>
#include <lockbyfile/flock.hpp>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/keep_alive.hpp>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/named_lock.hpp>
#include <lockbyfile/observe.hpp>
#include <lockbyfile/options.hpp>
