# One precompiled header for every C++ target (tools/cmake/precompiled.h): more than half of a compilation is reading the standard
# library, Abseil, protobuf, gRPC and GoogleTest. ccache does the same job better where it is installed, and gcc goes without, so
# that a missing #include is found.
set(WEFT_PRECOMPILE_DEFAULT OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT WEFT_CCACHE)
  set(WEFT_PRECOMPILE_DEFAULT ON)
endif()
option(WEFT_PRECOMPILE "Precompile the headers of the libraries" ${WEFT_PRECOMPILE_DEFAULT})
if(WEFT_PRECOMPILE)
  # Some libraries bring -pthread and some do not; clang wants it to be the same everywhere.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-pthread>)
  file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cc "")
  add_library(weft_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(weft_precompiled PRIVATE PkgConfig::GRPC protobuf::libprotobuf GTest::gmock)
  target_precompile_headers(weft_precompiled PRIVATE ${CMAKE_SOURCE_DIR}/tools/cmake/precompiled.h)
endif()

# Called by every function that makes a C++ target of ours.
function(weft_precompile target)
  if(WEFT_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM weft_precompiled)
  endif()
endfunction()
