# WEFT_SANITIZE is a -fsanitize= list applied to every target, generated code included.
set(WEFT_SANITIZE "" CACHE STRING "Sanitizers for all targets, e.g. address,undefined or thread")
option(WEFT_FUZZ "Build the libFuzzer targets (clang only)" OFF)
if(WEFT_SANITIZE)
  add_compile_options(-fsanitize=${WEFT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WEFT_SANITIZE})
endif()
if(WEFT_FUZZ)
  # Whatever is linked carries the counters; only the fuzz targets have libFuzzer's main (tests/fuzz/CMakeLists.txt).
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
# Debug builds of gcc do not tail-call coroutines; -O1 keeps sanitizer runs fast and stacks flat.
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_options(-O1)
endif()
# lld links the gRPC users several times faster than bfd; the default linker works too.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()
# Line tables are what a stack trace needs; names and types of variables cost a sixth of every compilation.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND (WEFT_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo"))
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-g1>)
endif()
