#include "data/hdf5_types.hpp"

#include <hdf5.h>

#include <bit>

#include "base/error.hpp"

namespace lockstep::data::detail {
namespace {

/// Compounds inside compounds deeper than this are listed, not read.
constexpr std::size_t kDeepestMember = 4;

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
    case DType::kBF16:
    case DType::kF32: return big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE;
    case DType::kF64: return big ? H5T_IEEE_F64BE : H5T_IEEE_F64LE;
    case DType::kUnsupported: break;
  }
  throw base::InternalError("an unsupported element type was asked of HDF5; report this bug");
}

/// Two bytes: the sign in bit 15, `exponent` bits of exponent below it, then the mantissa.
void make_short_float(Hdf5Id type, std::size_t exponent) {
  const auto mantissa = 15 - exponent;
  const bool made = H5Tset_fields(type, 15, mantissa, exponent, 0, mantissa) >= 0 &&
                    H5Tset_size(type, 2) >= 0 &&
                    H5Tset_ebias(type, (std::size_t{1} << (exponent - 1)) - 1) >= 0;
  LOCKSTEP_EXPECT(made, "HDF5 refused a type of two bytes");
}

Hdf5Handle make_type(DType dtype, bool big) {
  Hdf5Handle type(H5Tcopy(standard_type(dtype, big)), H5Tclose);
  LOCKSTEP_EXPECT(static_cast<bool>(type), "HDF5 gave no type");
  if (dtype == DType::kF16) make_short_float(type.id(), 5);
  if (dtype == DType::kBF16) make_short_float(type.id(), 8);
  return type;
}

bool is_stored_as(Hdf5Id type, DType dtype) {
  return H5Tequal(type, make_type(dtype, false).id()) > 0 ||
         H5Tequal(type, make_type(dtype, true).id()) > 0;
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

DType short_float_of(Hdf5Id type) {
  if (is_stored_as(type, DType::kF16)) return DType::kF16;
  if (is_stored_as(type, DType::kBF16)) return DType::kBF16;
  return DType::kUnsupported;
}

DType number_of(Hdf5Id type) {
  const auto size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER: return integer_of(size, H5Tget_sign(type) == H5T_SGN_2);
    case H5T_FLOAT:
      if (size == 2) return short_float_of(type);
      if (size == 4) return DType::kF32;
      if (size == 8) return DType::kF64;
      return DType::kUnsupported;
    default: return DType::kUnsupported;
  }
}

std::string class_name_of(Hdf5Id type) {
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

/// Types come from files: a damaged one is the file's fault.
void require_type(bool holds) {
  if (!holds) {
    throw base::DataError("an element type cannot be read (HDF5: " + hdf5_reason() +
                          "); the file is damaged, copy or make it again");
  }
}

Hdf5Handle super_of(Hdf5Id type) {
  Hdf5Handle super(H5Tget_super(type), H5Tclose);
  require_type(static_cast<bool>(super));
  return super;
}

/// h5py stores booleans as an enum of FALSE and TRUE.
bool is_boolean(Hdf5Id enumeration) {
  return H5Tget_nmembers(enumeration) == 2 && H5Tget_member_index(enumeration, "FALSE") >= 0 &&
         H5Tget_member_index(enumeration, "TRUE") >= 0;
}

void describe_number(Hdf5Id type, ElementType& element) {
  element.dtype = number_of(type);
  if (element.dtype == DType::kUnsupported) {
    element.name = class_name_of(type);
    return;
  }
  const bool big = size_of(element.dtype) > 1 && H5Tget_order(type) == H5T_ORDER_BE;
  element.swapped = size_of(element.dtype) > 1 && big != (std::endian::native == std::endian::big);
  element.standard = is_stored_as(type, element.dtype);
  element.name = (big ? "big-endian " : "") + std::string(name_of(element.dtype));
}

void describe_members(Hdf5Id type, const ElementType& outer, std::vector<ElementType>& found);

void describe(Hdf5Id type, ElementType element, std::vector<ElementType>& found) {
  switch (H5Tget_class(type)) {
    case H5T_COMPOUND:
      if (element.members.size() < kDeepestMember && element.lengths.empty()) {
        describe_members(type, element, found);
        return;
      }
      break;
    case H5T_ARRAY: {
      const auto rank = H5Tget_array_ndims(type);
      require_type(rank > 0);
      std::vector<hsize_t> lengths(static_cast<std::size_t>(rank));
      require_type(H5Tget_array_dims2(type, lengths.data()) >= 0);
      element.lengths.insert(element.lengths.end(), lengths.begin(), lengths.end());
      describe(super_of(type).id(), std::move(element), found);
      return;
    }
    case H5T_ENUM:
      describe_number(super_of(type).id(), element);
      element.name = is_boolean(type) ? "boolean" : "enum of " + element.name;
      found.push_back(std::move(element));
      return;
    default: break;
  }
  describe_number(type, element);
  found.push_back(std::move(element));
}

void describe_members(Hdf5Id type, const ElementType& outer, std::vector<ElementType>& found) {
  const auto members = H5Tget_nmembers(type);
  for (int i = 0; i < members; ++i) {
    const auto index = static_cast<unsigned>(i);
    const Hdf5Handle member(H5Tget_member_type(type, index), H5Tclose);
    char* name = H5Tget_member_name(type, index);
    require_type(member && name != nullptr);
    auto element = outer;
    element.members.emplace_back(name);
    H5free_memory(name);
    element.offset += H5Tget_member_offset(type, index);
    describe(member.id(), std::move(element), found);
  }
}

}  // namespace

Hdf5Handle hdf5_type(DType dtype, ByteOrder order) {
  return make_type(dtype,
                   order == ByteOrder::kBigEndian || std::endian::native == std::endian::big);
}

Hdf5Handle hdf5_file_type(DType dtype) { return make_type(dtype, false); }

std::vector<ElementType> elements_of(Hdf5Id type) {
  std::vector<ElementType> found;
  describe(type, {}, found);
  return found;
}

ElementType element_of(Hdf5Id type, const std::vector<std::string>& members) {
  for (auto& element : elements_of(type)) {
    if (element.members == members) return std::move(element);
  }
  throw base::InternalError("a member of a compound is gone; report this bug");
}

Hdf5Handle memory_type(const ElementType& element) {
  auto type = hdf5_type(element.dtype, ByteOrder::kNative);
  if (!element.lengths.empty()) {
    const std::vector<hsize_t> lengths(element.lengths.begin(), element.lengths.end());
    type = Hdf5Handle(
        H5Tarray_create2(type.id(), static_cast<unsigned>(lengths.size()), lengths.data()),
        H5Tclose);
    LOCKSTEP_EXPECT(static_cast<bool>(type), "HDF5 refused an array type");
  }
  for (auto member = element.members.rbegin(); member != element.members.rend(); ++member) {
    Hdf5Handle compound(H5Tcreate(H5T_COMPOUND, H5Tget_size(type.id())), H5Tclose);
    LOCKSTEP_EXPECT(compound && H5Tinsert(compound.id(), member->c_str(), 0, type.id()) >= 0,
                    "HDF5 refused a compound type");
    type = std::move(compound);
  }
  return type;
}

}  // namespace lockstep::data::detail
