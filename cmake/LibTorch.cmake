# Imported targets for LibTorch without find_package(Torch), which insists on a CUDA toolkit
# wherever the wheel was built with CUDA.
#
#   lockstep::libtorch        CPU half (c10, torch_cpu): what the worker links
#   lockstep::libtorch_cuda   CUDA half, for the GPU module
#   lockstep::nccl            the wheel's NCCL and CUDA runtime, the only ones in the process
#
# Found in LOCKSTEP_TORCH_ROOT (a folder with include/ and lib/), then in CMAKE_PREFIX_PATH, then
# in the wheel that bootstrap.sh unpacks.

set(LOCKSTEP_TORCH_ROOT "" CACHE PATH
  "LibTorch 2.11 or newer: the folder that holds include/ and lib/.")
if(NOT LOCKSTEP_TORCH_ROOT)
  file(GLOB wheel_roots ${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch)
  find_path(torch_include torch/csrc/api/include/torch/torch.h
    HINTS ${wheel_roots} PATH_SUFFIXES include)
  if(NOT torch_include)
    message(FATAL_ERROR "LibTorch not found (no torch/torch.h below CMAKE_PREFIX_PATH or .deps/); "
      "run ./bootstrap.sh build, or set LOCKSTEP_TORCH_ROOT")
  endif()
  cmake_path(GET torch_include PARENT_PATH torch_root)
else()
  set(torch_root ${LOCKSTEP_TORCH_ROOT})
endif()

file(STRINGS ${torch_root}/include/torch/headeronly/version.h version_lines
  REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3"
  LOCKSTEP_TORCH_VERSION "${version_lines}")
if(LOCKSTEP_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${LOCKSTEP_TORCH_VERSION} in ${torch_root} is too old (2.11 or "
    "newer is needed); run ./bootstrap.sh build, or set LOCKSTEP_TORCH_ROOT")
endif()
message(STATUS "LibTorch ${LOCKSTEP_TORCH_VERSION}: ${torch_root}")

cmake_path(GET torch_root PARENT_PATH site_packages)
set(nvidia_root ${site_packages}/nvidia)
set(nvidia_library_dirs "")
foreach(part cu13/lib nccl/lib cudnn/lib cusparselt/lib nvshmem/lib)
  if(EXISTS ${nvidia_root}/${part})
    list(APPEND nvidia_library_dirs ${nvidia_root}/${part})
  endif()
endforeach()

# Imported, so that the exported trainer refers to it by name and the installed package, which
# reads this file too, makes it anew from the LibTorch of the consumer's machine.
add_library(lockstep::libtorch INTERFACE IMPORTED GLOBAL)
target_include_directories(lockstep::libtorch SYSTEM INTERFACE
  ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_libraries(lockstep::libtorch INTERFACE
  ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so)
foreach(directory ${nvidia_library_dirs})
  target_link_options(lockstep::libtorch INTERFACE LINKER:-rpath-link,${directory})
endforeach()

if(EXISTS ${nvidia_root}/nccl/lib/libnccl.so.2)
  add_library(lockstep::nccl INTERFACE IMPORTED GLOBAL)
  target_link_libraries(lockstep::nccl INTERFACE
    ${nvidia_root}/nccl/lib/libnccl.so.2 ${nvidia_root}/cu13/lib/libcudart.so.13)
  target_include_directories(lockstep::nccl SYSTEM INTERFACE
    ${nvidia_root}/nccl/include ${nvidia_root}/cu13/include)
endif()
if(EXISTS ${torch_root}/lib/libtorch_cuda.so)
  add_library(lockstep::libtorch_cuda INTERFACE IMPORTED GLOBAL)
  target_link_libraries(lockstep::libtorch_cuda INTERFACE lockstep::libtorch $<TARGET_NAME_IF_EXISTS:lockstep::nccl>
    # Nothing names it, but its start registers CUDA with LibTorch.
    -Wl,--no-as-needed,${torch_root}/lib/libtorch_cuda.so,${torch_root}/lib/libc10_cuda.so,--as-needed)
endif()
