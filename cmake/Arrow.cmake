# Apache Arrow's C++ libraries, for `data import parquet`: Debian has no package of them, but the
# Python wheel pyarrow carries them with their headers. They are wanted, not needed: without them
# everything is built but the module that reads Parquet files.
#
#   lockstep_arrow   libarrow and libparquet, when they were found
#
# Found in LOCKSTEP_ARROW_ROOT (a folder pyarrow/ of a wheel), then in what bootstrap.sh unpacks.
# The wheel is built for manylinux_2_28: with the same C++ ABI (_GLIBCXX_USE_CXX11_ABI=1) as
# Debian's compilers, and against an older libstdc++.

set(LOCKSTEP_ARROW_ROOT "" CACHE PATH "The folder pyarrow/ of a wheel that holds include/arrow.")
if(LOCKSTEP_ARROW_ROOT)
  set(arrow_root ${LOCKSTEP_ARROW_ROOT})
else()
  file(GLOB arrow_root ${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/pyarrow)
endif()
# The wheel has the libraries under their versioned names alone.
file(GLOB arrow_libraries ${arrow_root}/libarrow.so.[0-9]* ${arrow_root}/libparquet.so.[0-9]*)
list(LENGTH arrow_libraries arrow_library_count)

if(arrow_library_count EQUAL 2 AND EXISTS ${arrow_root}/include/parquet/arrow/reader.h)
  message(STATUS "Apache Arrow: ${arrow_root}")
  add_library(lockstep_arrow INTERFACE)
  target_include_directories(lockstep_arrow SYSTEM INTERFACE ${arrow_root}/include)
  target_link_libraries(lockstep_arrow INTERFACE ${arrow_libraries})
else()
  message(STATUS "Apache Arrow: not found, Parquet files will not be read (pip install pyarrow)")
endif()
