#include "data/hdf5_types.hpp"

#include <hdf5.h>

#include <bit>

#include "base/error.hpp"

namespace lockstep::data::detail {
namespace {

Hdf5Id standard_type(DType dtype, bool big) {
  switch (dtype) {
    case DType::kU8: return big ? H5T_STD_U8BE : H5T_STD_U8LE;
    case DType::kI8: return big ? H5T_STD_I8BE : H5T_STD_I8LE;
    case DType::kU16: return big ? H5T_STD_U16BE : H5T_STD_U16LE;
    case DType::kI16: return big ? H5T_STD_I16BE : H5T_STD_I16LE;
    case DType::kU32: return big ? H5T_STD_U32BE : H5T_STD_U32LE;
    case DType::kI32: return big ? H5T_STD_I32BE : H5T_STD_I32LE;
    case DType::kU64: return big ? H5T_STD_U64BE : H5T_STD_U64LE;
    case DType::kI64: return big ? H5T_STD_I64BE : H5T_STD_I64LE;
    case DType::kF16:
    case DType::kF32: return big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE;
    case DType::kF64: return big ? H5T_IEEE_F64BE : H5T_IEEE_F64LE;
    case DType::kUnsupported: break;
  }
  throw base::InternalError("an unsupported element type was asked of HDF5; report this bug");
}

Hdf5Handle make_type(DType dtype, bool big) {
  Hdf5Handle type(H5Tcopy(standard_type(dtype, big)), H5Tclose);
  LOCKSTEP_EXPECT(static_cast<bool>(type), "HDF5 gave no type");
  if (dtype == DType::kF16) {
    // IEEE 754 binary16: sign bit 15, 5 bits of exponent at 10 with bias 15, 10 of mantissa at 0.
    const bool made = H5Tset_fields(type.id(), 15, 10, 5, 0, 10) >= 0 &&
                      H5Tset_size(type.id(), 2) >= 0 && H5Tset_ebias(type.id(), 15) >= 0;
    LOCKSTEP_EXPECT(made, "HDF5 refused the half precision type");
  }
  return type;
}

bool is_half(Hdf5Id type) {
  return H5Tequal(type, make_type(DType::kF16, false).id()) > 0 ||
         H5Tequal(type, make_type(DType::kF16, true).id()) > 0;
}

DType integer_of(std::size_t size, bool is_signed) {
  switch (size) {
    case 1: return is_signed ? DType::kI8 : DType::kU8;
    case 2: return is_signed ? DType::kI16 : DType::kU16;
    case 4: return is_signed ? DType::kI32 : DType::kU32;
    case 8: return is_signed ? DType::kI64 : DType::kU64;
    default: return DType::kUnsupported;
  }
}

}  // namespace

Hdf5Handle hdf5_type(DType dtype, ByteOrder order) {
  return make_type(dtype,
                   order == ByteOrder::kBigEndian || std::endian::native == std::endian::big);
}

Hdf5Handle hdf5_file_type(DType dtype) { return make_type(dtype, false); }

DType dtype_of(Hdf5Id type) {
  const auto size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER: return integer_of(size, H5Tget_sign(type) == H5T_SGN_2);
    case H5T_FLOAT:
      if (size == 2) return is_half(type) ? DType::kF16 : DType::kUnsupported;
      if (size == 4) return DType::kF32;
      if (size == 8) return DType::kF64;
      return DType::kUnsupported;
    default: return DType::kUnsupported;
  }
}

std::string type_name_of(Hdf5Id type) {
  const auto dtype = dtype_of(type);
  if (dtype != DType::kUnsupported) {
    const bool big = size_of(dtype) > 1 && H5Tget_order(type) == H5T_ORDER_BE;
    return (big ? "big-endian " : "") + std::string(name_of(dtype));
  }
  const auto bits = std::to_string(8 * H5Tget_size(type)) + "-bit ";
  switch (H5Tget_class(type)) {
    case H5T_INTEGER: return bits + "integer";
    case H5T_FLOAT: return bits + "float";
    case H5T_STRING: return "string";
    case H5T_COMPOUND: return "compound";
    case H5T_ENUM: return "enum";
    case H5T_ARRAY: return "array";
    case H5T_VLEN: return "variable-length";
    case H5T_REFERENCE: return "reference";
    case H5T_OPAQUE: return "opaque";
    case H5T_BITFIELD: return "bit field";
    case H5T_TIME: return "time";
    default: return "unknown";
  }
}

}  // namespace lockstep::data::detail
