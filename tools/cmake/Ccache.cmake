# What was compiled once on a machine is taken from ccache's folder by every clone of the repository on it, wherever the clone lies:
# paths below it are hashed as relative ones, and the folder of the build not at all.
find_program(WEFT_CCACHE ccache)
if(WEFT_CCACHE)
  set(WEFT_CCACHE_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
    CCACHE_NOHASHDIR=1
    # The compiler's own list of what it read, in place of a run of the preprocessor for each file.
    CCACHE_DEPEND=1
    # What ccache asks for with a precompiled header; __DATE__ and __TIME__ are not used.
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    # A precompiled header names the folder it was made in: its sum stands for it (Precompiled.cmake).
    CCACHE_PCH_EXTSUM=1
    ${WEFT_CCACHE})
  # How ccache writes the path of a folder depends on whether it is there.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gen)
  set(CMAKE_C_COMPILER_LAUNCHER ${WEFT_CCACHE_LAUNCHER})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${WEFT_CCACHE_LAUNCHER})
endif()
