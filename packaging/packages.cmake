# SPDX-License-Identifier: Apache-2.0
#
# Debian packages, of the two builds of the presets `packages` and `packages-shared`:
#
#   lockbyfile           the command, with the library in it
#   lockbyfile-demo      what `lockbyfile demo` runs
#   lockbyfile-etcd      the engine for locks in etcd
#   liblockbyfile0       the shared library
#   liblockbyfile-dev    headers, both libraries, CMake and pkg-config files
#   python3-lockbyfile   the Python package, with the library in it
#
# Used by packaging/build (./dev package): cpack --config packaging/packages.cmake -B DIRECTORY
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH source)
set(static ${source}/build/packages/static)
set(shared ${source}/build/packages/shared)
file(STRINGS ${source}/CMakeLists.txt project REGEX "^project\\(lockbyfile VERSION")
string(REGEX REPLACE ".*VERSION ([0-9.]+).*" "\\1" CPACK_PACKAGE_VERSION "${project}")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lockbyfile)
set(CPACK_PACKAGE_FILE_NAME lockbyfile-${CPACK_PACKAGE_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "named locks between processes")
set(CPACK_PACKAGE_DESCRIPTION "Named locks between processes.")
set(CPACK_SYSTEM_NAME Linux)
set(CPACK_TOPLEVEL_TAG Linux)
set(CPACK_CMAKE_GENERATOR Ninja)
set(CPACK_MODULE_PATH "")
set(CPACK_SET_DESTDIR OFF)
set(CPACK_PACKAGE_CONTACT "The lockbyfile authors <lockbyfile@lockbyfile.invalid>")
set(CPACK_PACKAGE_VENDOR "The lockbyfile authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${static};lockbyfile;command;/"
  "${static};lockbyfile;demo;/"
  "${static};lockbyfile;etcd;/"
  "${static};lockbyfile;archive;/"
  "${static};lockbyfile;python;/"
  "${shared};lockbyfile;library;/"
  "${shared};lockbyfile;development;/")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_COMPONENTS_ALL command demo etcd archive python library development)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)  # each project has the one that it is asked for
  string(TOUPPER ${component} upper)
  set(CPACK_COMPONENTS_${upper} ${component})
endforeach()
set(CPACK_COMPONENT_COMMAND_GROUP command)
set(CPACK_COMPONENT_DEMO_GROUP demo)
set(CPACK_COMPONENT_ETCD_GROUP etcd)
set(CPACK_COMPONENT_PYTHON_GROUP python)
set(CPACK_COMPONENT_LIBRARY_GROUP library)
set(CPACK_COMPONENT_ARCHIVE_GROUP development)
set(CPACK_COMPONENT_DEVELOPMENT_GROUP development)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME lockbyfile)
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "named locks between processes: command
 A lock has a name and is kept in a file. It opens when its holder dies, at
 once, or when its lease runs out; who waits is served in order of arrival,
 and each grant has a number by which a late writer can be refused.")
set(CPACK_DEBIAN_COMMAND_PACKAGE_SUGGESTS "lockbyfile-demo, lockbyfile-etcd")
set(CPACK_DEBIAN_ETCD_PACKAGE_NAME lockbyfile-etcd)
set(CPACK_DEBIAN_ETCD_PACKAGE_SECTION net)
set(CPACK_COMPONENT_ETCD_DESCRIPTION "named locks between processes: engine for etcd
 What the command, the library and the Python package need for locks of many
 machines, whose names begin with etcd:// or etcds://.")
set(CPACK_DEBIAN_DEMO_PACKAGE_NAME lockbyfile-demo)
set(CPACK_DEBIAN_DEMO_PACKAGE_DEPENDS "lockbyfile (= ${CPACK_PACKAGE_VERSION})")
set(CPACK_COMPONENT_DEMO_DESCRIPTION "named locks between processes: demonstration
 What `lockbyfile demo` runs: a counter in SQLite that many processes count up,
 and people who sleep in one bed.")
set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-lockbyfile)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
  ${CMAKE_CURRENT_LIST_DIR}/debian/prerm)
set(CPACK_COMPONENT_PYTHON_DESCRIPTION "named locks between processes: Python package
 Locks with a lease, crash release, order of arrival and fencing tokens, for
 with statements, asyncio, Django, and in place of filelock.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME liblockbyfile0)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/triggers)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "named locks between processes: shared library
 Locks with a lease, crash release, order of arrival and fencing tokens, for
 C and C++.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME liblockbyfile-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "liblockbyfile0 (= ${CPACK_PACKAGE_VERSION})")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "named locks between processes: development files
 Headers for C and C++, the libraries, and what CMake and pkg-config need to
 find them.")
execute_process(COMMAND /usr/bin/python3 -c "import sys; print('%d.%d' % sys.version_info[:2])"
  OUTPUT_VARIABLE python OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REGEX REPLACE "^3\\." "" minor "${python}")
math(EXPR next "${minor} + 1")
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3 (>= ${python}), python3 (<< 3.${next})")

set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/documents.cmake)
