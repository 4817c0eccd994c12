#include "data/column_places.hpp"

#include <hdf5.h>

#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

std::vector<ColumnPlace> column_places(const std::string& path,
                                       const std::vector<ColumnInfo>& columns) {
  std::vector<ColumnPlace> places;
  const Hdf5Lock lock;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.id(), false, true);
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  const Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file) return places;
  for (const auto& column : columns) {
    if (column.row_bytes() == 0 || !column.chunk.empty() || column.stored_bytes == 0) continue;
    const Hdf5Handle dataset(H5Dopen2(file.id(), column.name.c_str(), H5P_DEFAULT), H5Dclose);
    const auto offset = dataset ? H5Dget_offset(dataset.id()) : HADDR_UNDEF;
    if (offset == HADDR_UNDEF) continue;
    places.push_back({.name = column.name,
                      .begin = offset,
                      .row_bytes = column.row_bytes(),
                      .rows = static_cast<std::uint64_t>(column.rows())});
  }
  return places;
}

}  // namespace lockstep::data::detail
