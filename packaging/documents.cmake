# SPDX-License-Identifier: Apache-2.0
#
# Debian's policy requires a copyright file and a changelog in each package, and compressed manual
# pages. Each package also gets the list of lintian's remarks that we know and leave. CPack runs
# this when the files are in place.
set(names command lockbyfile demo lockbyfile-demo etcd lockbyfile-etcd
  library liblockbyfile0 development liblockbyfile-dev
  python python3-lockbyfile)
while(names)
  list(POP_FRONT names group package)
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${group})
  if(NOT IS_DIRECTORY ${root})
    continue()
  endif()
  set(documents ${root}/usr/share/doc/${package})
  file(MAKE_DIRECTORY ${documents})
  configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/copyright ${documents}/copyright COPYONLY)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/changelog ${documents}/changelog COPYONLY)
  set(known ${CMAKE_CURRENT_LIST_DIR}/debian/${package}.lintian-overrides)
  if(EXISTS ${known})
    file(MAKE_DIRECTORY ${root}/usr/share/lintian/overrides)
    configure_file(${known} ${root}/usr/share/lintian/overrides/${package} COPYONLY)
  endif()
  file(GLOB_RECURSE pages ${root}/usr/share/man/*.[1-9])
  execute_process(COMMAND gzip -9nf ${documents}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
endwhile()
