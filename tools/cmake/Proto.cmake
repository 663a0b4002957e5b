# All generated sources and headers, for who reads the tree without building it.
add_custom_target(weft_generated)

# weft_proto(NAME PROTOS a.proto ... [GRPC] DEPS x): generated C++ for repo-rooted .proto files.
# Includes are repo-rooted too: #include "proto/weft/mesh/v1/mesh.pb.h".
function(weft_proto name)
  cmake_parse_arguments(ARG "GRPC" "" "PROTOS;DEPS" ${ARGN})
  set(gen ${CMAKE_BINARY_DIR}/gen)
  set(sources)
  foreach(proto ${ARG_PROTOS})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(outputs ${gen}/${stem}.pb.cc ${gen}/${stem}.pb.h)
    set(flags --cpp_out=${gen})
    if(ARG_GRPC)
      list(APPEND outputs ${gen}/${stem}.grpc.pb.cc ${gen}/${stem}.grpc.pb.h)
      list(APPEND flags --grpc_out=${gen} --plugin=protoc-gen-grpc=${WEFT_GRPC_PLUGIN})
    endif()
    add_custom_command(OUTPUT ${outputs}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${gen}
      COMMAND ${WEFT_PROTOC} -I ${CMAKE_SOURCE_DIR} ${flags} ${CMAKE_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/${proto} VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_custom_target(${name}_sources DEPENDS ${sources})
  add_dependencies(weft_generated ${name}_sources)
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC ${gen})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf ${ARG_DEPS})
  if(ARG_GRPC)
    target_link_libraries(${name} PUBLIC weft_grpc)
  endif()
  weft_precompile(${name} weft_precompiled)
endfunction()
