# The libraries that the floors link, each as one target. Read by the build and by the installed
# package, so that both see the same names.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(fyaml REQUIRED IMPORTED_TARGET libfyaml)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
# The filters of HDF5 datasets.
pkg_check_modules(libdeflate REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(lz4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(blosc REQUIRED IMPORTED_TARGET blosc)
# The serial library by its own pkg-config name: a parallel HDF5 beside it is not taken by accident.
pkg_check_modules(hdf5_serial REQUIRED IMPORTED_TARGET hdf5-serial)
pkg_check_modules(zip REQUIRED IMPORTED_TARGET libzip)
pkg_check_modules(png REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(turbojpeg REQUIRED IMPORTED_TARGET libturbojpeg)
# libcsv has neither a pkg-config file nor a find module.
find_path(LOCKSTEP_CSV_INCLUDE_DIR csv.h REQUIRED)
find_library(LOCKSTEP_CSV_LIBRARY csv REQUIRED)
if(NOT TARGET lockstep::libcsv)
  add_library(lockstep::libcsv UNKNOWN IMPORTED)
  set_target_properties(lockstep::libcsv PROPERTIES IMPORTED_LOCATION ${LOCKSTEP_CSV_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${LOCKSTEP_CSV_INCLUDE_DIR})
endif()
# Which GPU is at which NUMA node. 2.5 is the first that looks without moving threads.
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc>=2.5)
find_package(MPI REQUIRED COMPONENTS C)
