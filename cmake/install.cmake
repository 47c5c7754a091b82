# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` installs, in components. The packages are made of them
# (packaging/packages.cmake):
#
#   command      the program lockbyfile and what belongs to it
#   demo         what `lockbyfile demo` runs
#   etcd         the engine for locks in etcd, and the command that has it
#   library      the shared library; nothing if the library is static
#   development  headers, what to link with, and how CMake and pkg-config find it
#   archive      the static library
#   python       the Python package
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS lockbyfile EXPORT lockbyfile-targets
  RUNTIME COMPONENT library
  LIBRARY COMPONENT library NAMELINK_COMPONENT development
  ARCHIVE COMPONENT archive
  FILE_SET HEADERS COMPONENT development)

set(config_directory ${CMAKE_INSTALL_LIBDIR}/cmake/lockbyfile)
install(EXPORT lockbyfile-targets
  NAMESPACE lockbyfile::
  DESTINATION ${config_directory}
  COMPONENT development)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lockbyfile-config.cmake.in
  ${PROJECT_BINARY_DIR}/lockbyfile-config.cmake
  INSTALL_DESTINATION ${config_directory}
  NO_SET_AND_CHECK_MACRO)
# Below 1.0 a new minor version may change anything.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lockbyfile-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/lockbyfile-config.cmake
  ${PROJECT_BINARY_DIR}/lockbyfile-config-version.cmake
  DESTINATION ${config_directory}
  COMPONENT development)

# A static library does not know by itself what it needs.
set(pc_libs "-L\${libdir} -llockbyfile")
set(pc_libs_private "-lstdc++ -lm -pthread")
get_target_property(type lockbyfile TYPE)
if(type STREQUAL STATIC_LIBRARY)
  string(APPEND pc_libs " ${pc_libs_private}")
  set(pc_libs_private "")
endif()
# The prefix is reckoned from the place of the file: `cmake --install --prefix` and a tree that was
# moved need no edit. An absolute libdir has no place below a prefix.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
    BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    OUTPUT_VARIABLE pc_prefix)
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE pc_libdir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}"
  OUTPUT_VARIABLE pc_includedir)
configure_file(${PROJECT_SOURCE_DIR}/cmake/lockbyfile.pc.in ${PROJECT_BINARY_DIR}/lockbyfile.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/lockbyfile.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT development)
install(FILES ${PROJECT_SOURCE_DIR}/man/lockbyfile.3
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man3
  COMPONENT development)

if(TARGET lockbyfile-cli)
  install(TARGETS lockbyfile-cli RUNTIME COMPONENT command)
  install(TARGETS lockbyfile-demo RUNTIME COMPONENT demo)
  install(FILES ${PROJECT_SOURCE_DIR}/man/lockbyfile.1
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
    COMPONENT command)
  install(FILES ${PROJECT_SOURCE_DIR}/man/lockbyfile.7
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man7
    COMPONENT command)
  install(FILES ${PROJECT_SOURCE_DIR}/completions/lockbyfile.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
    RENAME lockbyfile
    COMPONENT command)
  install(FILES ${PROJECT_SOURCE_DIR}/completions/_lockbyfile
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
    COMPONENT command)
  install(FILES ${PROJECT_SOURCE_DIR}/completions/lockbyfile.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
    COMPONENT command)
endif()

if(LOCKBYFILE_HAS_ETCD)
  install(TARGETS lockbyfile-etcd-module LIBRARY DESTINATION lib/lockbyfile
    COMPONENT etcd)
  if(LOCKBYFILE_LINKS_STATICALLY)
    install(TARGETS lockbyfile-etcd RUNTIME COMPONENT etcd)
  endif()
endif()

if(TARGET lockbyfile_python)
  set(python_directory lib/python3/dist-packages)  # Debian's
  install(TARGETS lockbyfile_python LIBRARY
    DESTINATION ${python_directory}/lockbyfile
    COMPONENT python)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/python/lockbyfile
    DESTINATION ${python_directory}
    COMPONENT python
    FILES_MATCHING PATTERN "*.py" PATTERN "*.pyi" PATTERN "py.typed"
    PATTERN "__pycache__" EXCLUDE)
endif()
