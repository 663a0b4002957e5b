# One precompiled header for every C++ target (tools/cmake/precompiled.h): more than half of a compilation is reading the standard
# library, Abseil, protobuf, gRPC and GoogleTest. gcc goes without, so that a missing #include is found.

# Sources of tests run once per build and are half of it: not optimized, and of the sanitizers only the address one (it must be
# everywhere, or the containers' own checks would be wrong), they compile three times as fast. What they test is built in full.
add_library(weft_test_options INTERFACE)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(weft_test_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-O0>)
  if(WEFT_SANITIZE MATCHES "undefined")
    target_compile_options(weft_test_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=undefined>)
  endif()
  if(WEFT_FUZZ)
    target_compile_options(weft_test_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=fuzzer-no-link>)
  endif()
endif()

set(WEFT_PRECOMPILE_DEFAULT OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(WEFT_PRECOMPILE_DEFAULT ON)
endif()
option(WEFT_PRECOMPILE "Precompile the headers of the libraries" ${WEFT_PRECOMPILE_DEFAULT})
if(WEFT_PRECOMPILE)
  # Some libraries bring -pthread and some do not; clang wants it to be the same everywhere.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-pthread>)
  file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cc "")
  add_library(weft_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(weft_precompiled PRIVATE PkgConfig::GRPC protobuf::libprotobuf GTest::gmock)
  target_precompile_headers(weft_precompiled PRIVATE <tools/cmake/precompiled.h>)
  # Clang takes a precompiled header only with the options that it was made with.
  add_library(weft_precompiled_tests OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(weft_precompiled_tests PRIVATE PkgConfig::GRPC protobuf::libprotobuf GTest::gmock weft_test_options)
  target_precompile_headers(weft_precompiled_tests PRIVATE <tools/cmake/precompiled.h>)
  # What ccache hashes in place of a header's bytes (Ccache.cmake): the text it is made of. The options are hashed with every file.
  execute_process(
    COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -pthread -E -P -x c++-header ${CMAKE_SOURCE_DIR}/tools/cmake/precompiled.h
    OUTPUT_VARIABLE precompiled_text COMMAND_ERROR_IS_FATAL ANY)
  string(SHA256 precompiled_sum "${precompiled_text}")
  foreach(header weft_precompiled weft_precompiled_tests)
    target_include_directories(${header} PRIVATE ${CMAKE_SOURCE_DIR})
    # Never from ccache: it names the folder it was made in, which may be another clone's and gone.
    set_target_properties(${header} PROPERTIES CXX_COMPILER_LAUNCHER "")
    file(WRITE ${CMAKE_BINARY_DIR}/CMakeFiles/${header}.dir/cmake_pch.hxx.pch.sum "${precompiled_sum}\n")
    # What waits for the header: its object is compiled with it. CMake orders nothing after an object library itself.
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/${header}.made COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/${header}.made
      DEPENDS $<TARGET_OBJECTS:${header}>)
    add_custom_target(${header}_made DEPENDS ${CMAKE_BINARY_DIR}/${header}.made)
  endforeach()
endif()

# Called by every function that makes a C++ target of ours; the header is weft_precompiled or weft_precompiled_tests. Not by
# REUSE_FROM, which also names the header itself, by a path that ccache hashes: no other clone would find what this one compiled.
function(weft_precompile target header)
  if(WEFT_PRECOMPILE)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Winvalid-pch>
      "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -include-pch -Xclang ${CMAKE_BINARY_DIR}/CMakeFiles/${header}.dir/cmake_pch.hxx.pch>")
    add_dependencies(${target} ${header}_made)
  endif()
endfunction()
